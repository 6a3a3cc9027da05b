/**
 * A small WebAssembly assembler. Expressions are pure values, `f32x4.mul(x, 0.5)`; a function builder turns them
 * into statements, `f.set(y, …)`, and owns locals and control flow. A number where an expression is expected is
 * a constant of the operation's own type. An expression used twice is computed twice: `f.let` names a value.
 */
import { opcode, section, text, typeCode, unsigned, vector } from "./encoding.ts";
import {
  i32,
  lift,
  type Callable,
  type Code,
  type Expr,
  type I32,
  type Local,
  type Operand,
  type Type,
} from "./expressions.ts";
import * as op from "./opcodes.ts";

export { call, f32, f32x4, f64, f64x2, i32, i32x4, i64, i64x2, memory, select, v128 } from "./expressions.ts";
export type { Callable, Expr, I32, Local, Type, V128 } from "./expressions.ts";

// ---- functions ----

export interface Label {
  readonly depth: number;
}

/** Builds one function body, statement by statement. */
export type Func = ReturnType<typeof functionBuilder>;

function functionBuilder(parameters: readonly Type[], relaxedMadd: boolean) {
  const types: Type[] = [...parameters];
  const prologue: number[] = [];
  const bytes: number[] = [];
  const constants = new Map<string, Local<"v128">>();
  let depth = 0;

  const code: Code = {
    bytes,
    relaxedMadd,
    vector(bits) {
      const key = bits.join();
      let home = constants.get(key);
      if (home === undefined) {
        constants.set(key, (home = local("v128")));
        prologue.push(...opcode(op.constant.v128), ...bits, op.control.set, ...unsigned(home.index));
      }
      home.encode(code);
    },
  };

  function local<T extends Type>(type: T): Local<T> {
    const index = types.push(type) - 1;
    return localAt(type, index);
  }
  function set<T extends Type>(target: Local<T>, value: Expr<T>): void {
    value.encode(code);
    bytes.push(op.control.set, ...unsigned(target.index));
  }
  /** A new local holding the value. */
  function keep<T extends Type>(value: Expr<T>): Local<T> {
    const home = local(value.type);
    set(home, value);
    return home;
  }
  /** Runs an effect. */
  function run(effect: Expr<"void">): void {
    effect.encode(code);
  }
  /** Computes a value for its effect only. */
  function drop(value: Expr): void {
    value.encode(code);
    bytes.push(op.control.drop);
  }
  function nest(kind: number, body: (label: Label) => void): void {
    bytes.push(kind, typeCode.void);
    body({ depth: ++depth });
    bytes.push(op.control.end);
    depth--;
  }
  /** `br` to its label leaves the block. */
  const block = (body: (label: Label) => void): void => nest(op.control.block, body);
  /** `br` to its label starts the next turn; falling out of the body leaves the loop. */
  const loop = (body: (label: Label) => void): void => nest(op.control.loop, body);

  function when(condition: I32, then: () => void, otherwise?: () => void): void {
    condition.encode(code);
    nest(op.control.if, () => {
      then();
      if (otherwise === undefined) return;
      bytes.push(op.control.else);
      otherwise();
    });
  }
  const br = (label: Label): void => void bytes.push(op.control.br, ...unsigned(depth - label.depth));
  function brIf(label: Label, condition: I32): void {
    condition.encode(code);
    bytes.push(op.control.brIf, ...unsigned(depth - label.depth));
  }
  function whileLoop(condition: I32, body: () => void): void {
    when(condition, () =>
      loop((again) => {
        body();
        brIf(again, condition);
      }),
    );
  }
  /** Counts i from start while i < end (signed); `end` and `step` are read each turn. Tested at the bottom: one branch a turn. */
  function forLoop(
    i: Local<"i32">,
    start: Operand<"i32">,
    end: Operand<"i32">,
    step: Operand<"i32">,
    body: () => void,
  ): void {
    set(i, lift.i32(start));
    whileLoop(i32.lt_s(i, end), () => {
      body();
      set(i, i32.add(i, step));
    });
  }
  function returnValue(value?: Expr): void {
    value?.encode(code);
    bytes.push(op.control.return);
  }
  function body(): number[] {
    const own = types.slice(parameters.length);
    return [...vector(own.map((type) => [1, typeCode[type]])), ...prologue, ...bytes, op.control.end];
  }

  return {
    local,
    set,
    let: keep,
    do: run,
    drop,
    block,
    loop,
    if: when,
    br,
    brIf,
    while: whileLoop,
    for: forLoop,
    return: returnValue,
    body,
  };
}

function localAt<T extends Type>(type: T, index: number): Local<T> {
  return { type, index, encode: (code) => void code.bytes.push(op.control.get, ...unsigned(index)) };
}

// ---- modules ----

export interface EmitOptions {
  /** The memory to import is shared between threads. */
  readonly shared: boolean;
  /** Multiply-adds may be emitted as relaxed SIMD; otherwise they are a product and a sum. */
  readonly relaxedMadd: boolean;
}

type Locals<P extends Record<string, Type>> = { [K in keyof P]: Local<P[K]> };

/** What a module is built with. Import functions before defining any: imports come first in the index space. */
export type Module = ReturnType<typeof moduleBuilder>;

function moduleBuilder(options: EmitOptions) {
  const types: number[][] = [];
  const imports: number[][] = [];
  const functions: number[][] = [];
  const exports: number[][] = [];
  const bodies: number[][] = [];
  let importedFunctions = 0;

  function signature(parameters: readonly Type[], result: Type | "void"): number[] {
    const type = [
      0x60,
      ...vector(parameters.map((p) => [typeCode[p]])),
      ...vector(result === "void" ? [] : [[typeCode[result]]]),
    ];
    return unsigned(types.push(type) - 1);
  }
  /** Imports a memory of any size; a shared one must name a limit, 4 GiB. */
  function importMemory(module: string, name: string): void {
    const limits = options.shared ? [0x03, ...unsigned(0), ...unsigned(65536)] : [0x00, ...unsigned(0)];
    imports.push([...text(module), ...text(name), 0x02, ...limits]);
  }
  function importFunction<R extends Type | "void">(
    module: string,
    name: string,
    parameters: readonly Type[],
    result: R,
  ): Callable<R> {
    imports.push([...text(module), ...text(name), 0x00, ...signature(parameters, result)]);
    return { index: importedFunctions++, result };
  }
  /** Defines a function; the body receives its builder and its parameters as locals. A result is given by `f.return`. */
  function define<P extends Record<string, Type>, R extends Type | "void">(
    parameters: P,
    result: R,
    build: (f: Func, parameters: Locals<P>) => void,
    exportAs?: string,
  ): Callable<R> {
    const slot = functions.push(signature(Object.values(parameters), result)) - 1;
    const f = functionBuilder(Object.values(parameters), options.relaxedMadd);
    build(
      f,
      Object.fromEntries(Object.entries(parameters).map(([name, type], i) => [name, localAt(type, i)])) as Locals<P>,
    );
    bodies[slot] = result === "void" ? f.body() : [...f.body().slice(0, -1), op.control.unreachable, op.control.end];
    const index = importedFunctions + slot;
    if (exportAs !== undefined) exports.push([...text(exportAs), 0x00, ...unsigned(index)]);
    return { index, result };
  }
  function binaryModule(): Uint8Array<ArrayBuffer> {
    const sized = bodies.map((body) => [...unsigned(body.length), ...body]);
    const sections = [
      [1, types],
      [2, imports],
      [3, functions],
      [7, exports],
      [10, sized],
    ] as const;
    return Uint8Array.from([
      0x00,
      0x61,
      0x73,
      0x6d,
      0x01,
      0x00,
      0x00,
      0x00,
      ...sections.flatMap(([id, rows]) => (rows.length === 0 ? [] : [id, ...section(vector(rows))])),
    ]);
  }
  return { options, importMemory, importFunction, define, binary: binaryModule };
}

/** The bytes of the module that `build` describes. */
export function assemble(options: EmitOptions, build: (m: Module) => void): Uint8Array<ArrayBuffer> {
  const m = moduleBuilder(options);
  build(m);
  return m.binary();
}
