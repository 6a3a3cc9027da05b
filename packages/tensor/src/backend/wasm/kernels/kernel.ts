/**
 * What a kernel is to the program that runs it. A kernel is one module importing `env.memory` (and perhaps functions
 * of `math`) and exporting `run(args, begin, end, scratch)`: it computes tiles [begin, end) of the job described by
 * the 32-bit words at `args`, and may use `scratch`, 1 MiB private to the thread. Which thread runs which tile never
 * changes a bit. No module holds an extent: one serves every shape.
 */
import {
  i32,
  select,
  v128,
  type EmitOptions,
  type Func,
  type I32,
  type Local,
  type Module,
  type V128,
} from "../assembler.ts";

/** The words of a routine by name, in the order of its argument block. */
export type Words<W extends string> = Readonly<Record<W, number>>;

/** Steps to run one after another, with a barrier between, over one argument block. */
export interface Routine<Shape, Pointer extends string, W extends string> {
  /** Equal names mean equal steps: the shape is not in them. */
  readonly name: string;
  readonly words: readonly (Pointer | W)[];
  /** Every word that is not a pointer. */
  extents(shape: Shape): Words<W>;
  /** Size of what `temporary` points to: written by one step, read by all threads in the next. */
  temporaryBytes(shape: Shape): number;
  readonly steps: readonly Step<Shape>[];
}

export interface Step<Shape> {
  readonly name: string;
  emit(options: EmitOptions, epilogue?: Epilogue): Uint8Array<ArrayBuffer>;
  tiles(shape: Shape): number;
}

/** Rewrites four finished elements of a row before they are seen by anyone. */
export type Epilogue = (value: V128, context: EpilogueContext) => V128;

export interface EpilogueContext {
  readonly f: Func;
  /** The argument block; the epilogue's own words follow the routine's. */
  readonly args: I32;
  /** Batch item, row and first column of the four elements. */
  readonly batch: I32;
  readonly row: I32;
  readonly col: I32;
  /** Four consecutive floats from the one that belongs to `col`; at the end of a row, only those that exist. */
  readonly load: (address: I32) => V128;
  /** The same for a store, where an epilogue has results of its own. */
  readonly store: (address: I32, value: V128) => void;
}

/** Reads the whole argument block into locals. */
function readWords<W extends string>(f: Func, args: I32, words: readonly W[]): Record<W, Local<"i32">> {
  return Object.fromEntries(words.map((word, i) => [word, f.let(i32.load(args, 4 * i))])) as Record<W, Local<"i32">>;
}

/** Defines `run`; the body is given the tile to compute. */
export function defineRun<W extends string>(
  m: Module,
  words: readonly W[],
  tile: (
    f: Func,
    tile: Local<"i32">,
    w: Record<W, Local<"i32">>,
    parameters: { args: I32; scratch: Local<"i32"> },
  ) => void,
): void {
  m.define(
    { args: "i32", begin: "i32", end: "i32", scratch: "i32" },
    "void",
    (f, { args, begin, end, scratch }) => {
      const w = readWords(f, args, words);
      const index = f.local("i32");
      f.for(index, begin, end, 1, () => tile(f, index, w, { args, scratch }));
    },
    "run",
  );
}

/** base + index·stride, all in bytes but the index. */
export const at = (base: I32, index: I32, stride: I32 | number): I32 => i32.add(base, i32.mul(index, stride));

/** The smaller, for operands without effects: both are computed twice. */
export const minimum = (f: Func, a: I32, b: I32): Local<"i32"> => f.let(select(i32.lt_s(a, b), a, b));

/** Four rows of four become four columns. */
export function transpose4(f: Func, rows: readonly V128[]): Local<"v128">[] {
  const [a, b, c, d] = rows.map((row) => f.let(row)) as V128[] as [V128, V128, V128, V128];
  const [ab, cd] = [f.let(v128.shuffle32(a, b, [0, 4, 1, 5])), f.let(v128.shuffle32(c, d, [0, 4, 1, 5]))];
  const [ef, gh] = [f.let(v128.shuffle32(a, b, [2, 6, 3, 7])), f.let(v128.shuffle32(c, d, [2, 6, 3, 7]))];
  return [
    [ab, cd],
    [ef, gh],
  ].flatMap(([x, y]) => [f.let(v128.shuffle32(x!, y!, [0, 1, 4, 5])), f.let(v128.shuffle32(x!, y!, [2, 3, 6, 7]))]);
}

/** Loads and stores of one to three floats, for the ends of rows. */
export function definePartial(m: Module) {
  const load = m.define({ address: "i32", count: "i32" }, "v128", (f, { address, count }) => {
    const x = f.let(v128.load32_zero(address));
    f.if(i32.gt_s(count, 1), () => f.set(x, v128.load32_lane(address, x, 1, 4)));
    f.if(i32.gt_s(count, 2), () => f.set(x, v128.load32_lane(address, x, 2, 8)));
    f.return(x);
  });
  const store = m.define({ address: "i32", x: "v128", count: "i32" }, "void", (f, { address, x, count }) => {
    f.do(v128.store32_lane(address, x, 0));
    f.if(i32.gt_s(count, 1), () => f.do(v128.store32_lane(address, x, 1, 4)));
    f.if(i32.gt_s(count, 2), () => f.do(v128.store32_lane(address, x, 2, 8)));
  });
  return { load, store };
}
