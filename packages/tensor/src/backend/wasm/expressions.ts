/** The expressions of the assembler: pure values that know how to write themselves into a function. */
import { bytesOf, opcode, signed, unsigned } from "./encoding.ts";
import * as op from "./opcodes.ts";

export type Scalar = "i32" | "i64" | "f32" | "f64";
export type Type = Scalar | "v128";

/** A value (or, for `void`, an effect) of one WebAssembly type. */
export interface Expr<T extends Type | "void" = Type> {
  readonly type: T;
  encode(code: Code): void;
}

export interface Local<T extends Type = Type> extends Expr<T> {
  readonly index: number;
}

export type I32 = Expr<"i32">;
export type V128 = Expr<"v128">;
export type Operand<T extends Type> = Expr<T> | number;

/** Where an expression writes itself, and the two choices it leaves open until then. */
export interface Code {
  readonly bytes: number[];
  readonly relaxedMadd: boolean;
  /** Pushes a vector constant, from a local set once at the top: in a loop V8 would rebuild it from immediates every time. */
  vector(bits: readonly number[]): void;
}

const literals: Record<Scalar, (value: number) => number[]> = {
  i32: (value) => [op.constant.i32, ...signed(BigInt(value | 0))],
  i64: (value) => [op.constant.i64, ...signed(BigInt(value))],
  f32: (value) => [op.constant.f32, ...bytesOf(Float32Array.of(value))],
  f64: (value) => [op.constant.f64, ...bytesOf(Float64Array.of(value))],
};

type Lift<T extends Type> = (value: Operand<T>) => Expr<T>;

const scalarLift =
  <T extends Scalar>(type: T): Lift<T> =>
  (value) =>
    typeof value === "number" ? { type, encode: (code) => void code.bytes.push(...literals[type](value)) } : value;

const vectorLift =
  (lanes: (value: number) => ArrayBufferView): Lift<"v128"> =>
  (value) =>
    typeof value === "number" ? { type: "v128", encode: (code) => code.vector(bytesOf(lanes(value))) } : value;

/** An operation: its operands, then its opcode and immediates. */
function node<T extends Type | "void">(
  type: T,
  code: number,
  operands: readonly Expr[],
  immediates: readonly number[] = [],
): Expr<T> {
  return {
    type,
    encode(out) {
      for (const operand of operands) operand.encode(out);
      out.bytes.push(...opcode(code), ...immediates);
    },
  };
}

/** One function for each row of an opcode table. */
function each<Table extends Record<string, unknown>, F>(
  table: Table,
  make: (row: Table[keyof Table]) => F,
): { [K in keyof Table]: F } {
  return Object.fromEntries(Object.entries(table).map(([name, row]) => [name, make(row as Table[keyof Table])])) as {
    [K in keyof Table]: F;
  };
}

const unary = <T extends Type, R extends Type, N extends string>(lift: Lift<T>, result: R, table: Record<N, number>) =>
  each(table, (code) => (x: Operand<T>) => node(result, code, [lift(x)]));

const binary = <T extends Type, R extends Type, N extends string>(lift: Lift<T>, result: R, table: Record<N, number>) =>
  each(table, (code) => (a: Operand<T>, b: Operand<T>) => node(result, code, [lift(a), lift(b)]));

/** Bytes moved by each memory operation; the alignment hint is at most this. */
function width(name: string, type: Type): number {
  const bits = /(8x8|32x2)/.test(name)
    ? 64
    : Number(/\d+/.exec(name)?.[0] ?? { i32: 32, f32: 32, i64: 64, f64: 64, v128: 128 }[type]);
  return bits / 8;
}

const memoryArgument = (align: number, offset: number): number[] => [Math.log2(align), ...unsigned(offset)];

/** `load(address, offset, align)`: address and offset in bytes. */
function loads<T extends Type, N extends string>(type: T, table: Record<N, number>) {
  return Object.fromEntries(
    Object.entries<number>(table).map(([name, code]) => [
      name,
      (address: Operand<"i32">, offset = 0, align = width(name, type)) =>
        node(type, code, [lift.i32(address)], memoryArgument(align, offset)),
    ]),
  ) as Record<N, (address: Operand<"i32">, offset?: number, align?: number) => Expr<T>>;
}

function stores<T extends Type, N extends string>(type: T, lifted: Lift<T>, table: Record<N, number>) {
  return Object.fromEntries(
    Object.entries<number>(table).map(([name, code]) => [
      name,
      (address: Operand<"i32">, value: Operand<T>, offset = 0, align = width(name, type)) =>
        node("void", code, [lift.i32(address), lifted(value)], memoryArgument(align, offset)),
    ]),
  ) as Record<N, (address: Operand<"i32">, value: Operand<T>, offset?: number, align?: number) => Expr<"void">>;
}

export const lift = {
  i32: scalarLift("i32"),
  i64: scalarLift("i64"),
  f32: scalarLift("f32"),
  f64: scalarLift("f64"),
  bits: vectorLift((value) => Int32Array.of(value, value, value, value)),
  i64x2: vectorLift((value) => BigInt64Array.of(BigInt(value), BigInt(value))),
  f32x4: vectorLift((value) => Float32Array.of(value, value, value, value)),
  f64x2: vectorLift((value) => Float64Array.of(value, value)),
};

function conversions<T extends Scalar, N extends string>(type: T, table: Record<N, readonly [Scalar, number]>) {
  return each(
    table,
    ([, code]) =>
      (x: Expr<Scalar>) =>
        node(type, code, [x]),
  );
}

function scalar<
  T extends Scalar,
  C extends string,
  U extends string,
  B extends string,
  L extends string,
  S extends string,
  V extends string,
>(
  type: T,
  table: {
    compare: Record<C, number>;
    unary: Record<U, number>;
    binary: Record<B, number>;
    load: Record<L, number>;
    store: Record<S, number>;
  },
  convert: Record<V, readonly [Scalar, number]>,
) {
  const operand = lift[type] as unknown as Lift<T>;
  return {
    const: operand as (value: number) => Expr<T>,
    ...binary(operand, "i32", table.compare),
    ...unary(operand, type, table.unary),
    ...binary(operand, type, table.binary),
    ...loads(type, table.load),
    ...stores(type, operand, table.store),
    ...conversions(type, convert),
  };
}

export const i32 = {
  ...scalar("i32", op.i32, op.convert.i32),
  atomicLoad: (address: I32, offset = 0) => node("i32", op.i32.atomicLoad, [address], memoryArgument(4, offset)),
  atomicStore: (address: I32, value: Operand<"i32">, offset = 0) =>
    node("void", op.i32.atomicStore, [address, lift.i32(value)], memoryArgument(4, offset)),
  /** The value before the addition. */
  atomicAdd: (address: I32, value: Operand<"i32">, offset = 0) =>
    node("i32", op.i32.atomicAdd, [address, lift.i32(value)], memoryArgument(4, offset)),
  /** 0 woken, 1 the value differed, 2 timed out. The timeout is in nanoseconds; negative waits for ever. */
  atomicWait: (address: I32, expected: Operand<"i32">, timeout: Operand<"i64">) =>
    node("i32", op.i32.wait, [address, lift.i32(expected), lift.i64(timeout)], memoryArgument(4, 0)),
  atomicNotify: (address: I32, count: Operand<"i32">) =>
    node("i32", op.i32.notify, [address, lift.i32(count)], memoryArgument(4, 0)),
};
export const i64 = scalar("i64", op.i64, op.convert.i64);
export const f32 = scalar("f32", op.f32, op.convert.f32);
export const f64 = scalar("f64", op.f64, op.convert.f64);

/** Comparisons of vectors give all ones or all zeros in each lane. */
function lanes<T extends Scalar, U extends string, B extends string>(
  operand: Lift<"v128">,
  type: T,
  table: { splat: number; extract: number; replace: number; unary: Record<U, number>; binary: Record<B, number> },
) {
  const element = lift[type] as unknown as Lift<T>;
  return {
    const: operand as (value: number) => V128,
    splat: (x: Operand<T>) => node("v128", table.splat, [element(x)]),
    extract: (x: V128, lane: number) => node(type, table.extract, [x], [lane]),
    replace: (x: V128, lane: number, value: Operand<T>) => node("v128", table.replace, [x, element(value)], [lane]),
    ...unary(operand, "v128", table.unary),
    ...binary(operand, "v128", table.binary),
  };
}

function shifts<N extends string>(operand: Lift<"v128">, table: Record<N, number>) {
  return each(
    table,
    (code) => (x: Operand<"v128">, count: Operand<"i32">) => node("v128", code, [operand(x), lift.i32(count)]),
  );
}

/** a·b + c: one rounding where relaxed SIMD is emitted and the processor fuses, two otherwise. */
function multiplyAdd(operand: Lift<"v128">, table: { relaxedMadd: number; binary: { mul: number; add: number } }) {
  return (a: Operand<"v128">, b: Operand<"v128">, c: Operand<"v128">): V128 => {
    const [x, y, z] = [operand(a), operand(b), operand(c)];
    const fused = node("v128", table.relaxedMadd, [x, y, z]);
    const plain = node("v128", table.binary.add, [node("v128", table.binary.mul, [x, y]), z]);
    return { type: "v128", encode: (code) => (code.relaxedMadd ? fused : plain).encode(code) };
  };
}

export const i32x4 = {
  ...lanes(lift.bits, "i32", op.i32x4),
  ...shifts(lift.bits, op.i32x4.shift),
  ...unary(lift.bits, "i32", op.i32x4.test),
};
export const i64x2 = {
  ...lanes(lift.i64x2, "i64", op.i64x2),
  ...shifts(lift.i64x2, op.i64x2.shift),
  ...unary(lift.i64x2, "i32", op.i64x2.test),
};
export const f32x4 = { ...lanes(lift.f32x4, "f32", op.f32x4), madd: multiplyAdd(lift.f32x4, op.f32x4) };
export const f64x2 = { ...lanes(lift.f64x2, "f64", op.f64x2), madd: multiplyAdd(lift.f64x2, op.f64x2) };

/** Operations on 128 bits; a number is a 32-bit pattern in each lane. */
export const v128 = {
  ...unary(lift.bits, "v128", op.v128.unary),
  ...binary(lift.bits, "v128", op.v128.binary),
  ...unary(lift.bits, "i32", op.v128.test),
  ...loads("v128", op.v128.load),
  ...stores("v128", lift.bits, op.v128.store),
  ...each(
    op.v128.loadLane,
    (code) =>
      (address: I32, into: V128, lane: number, offset = 0): V128 =>
        node("v128", code, [address, into], [0, ...unsigned(offset), lane]),
  ),
  ...each(
    op.v128.storeLane,
    (code) =>
      (address: I32, from: V128, lane: number, offset = 0): Expr<"void"> =>
        node("void", code, [address, from], [0, ...unsigned(offset), lane]),
  ),
  /** Bits of `a` where the mask is set, of `b` elsewhere. */
  bitselect: (a: V128, b: V128, mask: V128) => node("v128", op.v128.bitselect, [a, b, mask]),
  /** Sixteen byte indices into a (0-15) and b (16-31). */
  shuffle: (a: V128, b: V128, bytes: readonly number[]) => node("v128", op.v128.shuffle, [a, b], bytes),
  /** `shuffle` by whole 32-bit lanes: 0-3 of a, 4-7 of b. */
  shuffle32: (a: V128, b: V128, lanes: readonly number[]) =>
    node(
      "v128",
      op.v128.shuffle,
      [a, b],
      lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
    ),
  swizzle: (x: V128, bytes: V128) => node("v128", op.v128.swizzle, [x, bytes]),
};

/** `a` if the condition is not zero, else `b`; both are computed. */
export const select = <T extends Type>(condition: I32, a: Expr<T>, b: Expr<T>): Expr<T> =>
  node(a.type, op.control.select, [a, b, condition]);

/** A function of this module or an imported one. */
export interface Callable<R extends Type | "void" = Type | "void"> {
  readonly index: number;
  readonly result: R;
}

export const call = <R extends Type | "void">(callee: Callable<R>, ...operands: Expr[]): Expr<R> =>
  node(callee.result, op.control.call, operands, unsigned(callee.index));

export const memory = {
  fill: (address: I32, value: Operand<"i32">, bytes: Operand<"i32">) =>
    node("void", op.control.fill, [address, lift.i32(value), lift.i32(bytes)], [0]),
  copy: (to: I32, from: I32, bytes: Operand<"i32">) =>
    node("void", op.control.copy, [to, from, lift.i32(bytes)], [0, 0]),
};
