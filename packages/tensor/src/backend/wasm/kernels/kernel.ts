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
  type Callable,
  type EmitOptions,
  type Func,
  type I32,
  type Local,
  type Module,
  type V128,
} from "../assembler.ts";

import { SCRATCH } from "./scratch.ts";

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

/**
 * What becomes of a product: without one, a routine stores it at `c`. With one, each finished block is left in scratch and handed over,
 * to be stored by whoever reads it.
 */
export interface Epilogue {
  /**
   * Imports what it needs and defines a function that is called once for each block, with the words of `finish`. To be called before a
   * module defines anything else.
   *
   * @param words how many words the routine has; the epilogue's own follow.
   */
  define(m: Module, words: number): Callable<"void">;
}

/** The argument block; the batch item (or group), row, column and extents of a block; its address and the bytes between its rows. */
export const FINISH_WORDS = {
  args: "i32",
  batch: "i32",
  row: "i32",
  col: "i32",
  rows: "i32",
  cols: "i32",
  from: "i32",
  stride: "i32",
} as const;

/** Where a block of the result is computed. */
export interface Home {
  readonly c: Local<"i32">;
  /** Bytes between rows. */
  readonly stride: Local<"i32">;
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

/**
 * Reads a word of each cache line of rows of so many bytes, but for what is left of 256. Nothing waits for such reads, so that many lines are
 * on their way at once, in an order that the processor foresees; a kernel that finds them in its caches does not wait either. What is read
 * and dropped stays in the code, because it could trap.
 */
export function touch(f: Func, from: I32, stride: I32, rows: I32, bytes: I32): void {
  const [i, j, row] = [f.local("i32"), f.local("i32"), f.let(i32.add(from, 0))];
  const end = f.let(i32.sub(bytes, 255));
  f.for(i, 0, rows, 1, () => {
    f.for(j, 0, end, 256, () => [0, 64, 128, 192].forEach((line) => f.drop(i32.load(i32.add(row, j), line))));
    f.set(row, i32.add(row, stride));
  });
}

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

/** Where a tile computes its block of the result: at its place in `c`, `line` rows down, or in scratch if an epilogue will read it. */
export function homeOf(
  f: Func,
  w: { readonly c: I32; readonly n: I32; readonly tileCols: I32 },
  scratch: I32,
  epilogue: Epilogue | undefined,
  { line, col }: { line: I32; col: I32 },
): Home {
  const stride = f.let(i32.shl(epilogue ? w.tileCols : w.n, 2));
  const c = epilogue ? i32.add(scratch, SCRATCH.result) : i32.add(at(w.c, line, stride), i32.shl(col, 2));
  return { c: f.let(c), stride };
}

/** Runs the body on blocks of at most `most` of `total`, once if there are none: an empty sum is zero. */
export function inBlocks(
  f: Func,
  total: I32,
  most: number,
  body: (start: Local<"i32">, depth: Local<"i32">) => void,
): void {
  const start = f.let(i32.const(0));
  const depth = f.local("i32");
  f.loop((again) => {
    f.set(depth, minimum(f, i32.sub(total, start), i32.const(most)));
    body(start, depth);
    f.set(start, i32.add(start, most));
    f.brIf(again, i32.lt_s(start, total));
  });
}
