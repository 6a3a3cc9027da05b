/** What every matrix product is told, and how it cuts its result into tiles. */
import { i32, type Func, type I32, type Local } from "../assembler.ts";
import { at, minimum, type Routine } from "./kernel.ts";
import type { RegisterTile } from "./panels.ts";
import { MOST_TILE_COLS, MOST_TILE_ROWS } from "./scratch.ts";

/** Strides are in elements; the result is contiguous. At most three batch dimensions; a broadcast one has stride 0. */
export interface MatmulShape {
  readonly batch: readonly number[];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: MatmulOperand;
  readonly b: MatmulOperand;
}

export interface MatmulOperand {
  readonly batch: readonly number[];
  readonly row: number;
  readonly col: number;
}

export type MatmulPointer = "a" | "b" | "c" | "temporary";

const EXTENTS = [
  "m",
  "n",
  "k",
  "aRow",
  "aCol",
  "bRow",
  "bCol",
  "batch1",
  "batch2",
  "aBatch0",
  "aBatch1",
  "aBatch2",
  "bBatch0",
  "bBatch1",
  "bBatch2",
  "tileRows",
  "tileCols",
  "rowTiles",
  "colTiles",
  "packedBatch",
] as const;
export const MATMUL_WORDS = ["a", "b", "c", "temporary", ...EXTENTS] as const;
type Word = (typeof MATMUL_WORDS)[number];

export type MatmulRoutine = Routine<MatmulShape, MatmulPointer, (typeof EXTENTS)[number]>;

/** Register tiles by measurement: the second for engines that fuse adjacent 128-bit operations into 256-bit ones. */
export const REGISTER_TILE: RegisterTile = { rows: 6, cols: 8 };
export const WIDE_REGISTER_TILE: RegisterTile = { rows: 6, cols: 16 };

export const divideUp = (a: number, b: number): number => Math.ceil(a / b);
export const batchSize = ({ batch }: MatmulShape): number => batch.reduce((a, b) => a * b, 1);

/** Tiles to claim, shrunk while there are few, as long as each is worth claiming. */
export function claimTile(
  m: number,
  n: number,
  k: number,
  batch: number,
  register: RegisterTile,
): { rows: number; cols: number } {
  const up = (x: number, unit: number): number => Math.max(divideUp(x, unit), 1) * unit;
  let rows = Math.min(up(m, register.rows), MOST_TILE_ROWS);
  let cols = Math.min(up(n, register.cols), MOST_TILE_COLS);
  const few = (): boolean => batch * divideUp(m, rows) * divideUp(n, cols) < 16 && rows * cols * k > 1 << 18;
  while (few() && rows > 24) rows = up(rows / 2, register.rows);
  while (few() && cols > 4 * register.cols) cols = up(cols / 2, register.cols);
  return { rows, cols };
}

export function matmulExtents(shape: MatmulShape, register: RegisterTile) {
  const { m, n, k, a, b, batch } = shape;
  const last = (list: readonly number[], fill: number): number[] => [
    ...Array<number>(3 - list.length).fill(fill),
    ...list,
  ];
  const [, batch1, batch2] = last(batch, 1) as [number, number, number];
  const [aBatch0, aBatch1, aBatch2] = last(a.batch, 0) as [number, number, number];
  const [bBatch0, bBatch1, bBatch2] = last(b.batch, 0) as [number, number, number];
  const tile = claimTile(m, n, k, batchSize(shape), register);
  return {
    m,
    n,
    k,
    aRow: a.row,
    aCol: a.col,
    bRow: b.row,
    bCol: b.col,
    batch1,
    batch2,
    aBatch0,
    aBatch1,
    aBatch2,
    bBatch0,
    bBatch1,
    bBatch2,
    tileRows: tile.rows,
    tileCols: tile.cols,
    rowTiles: divideUp(m, tile.rows),
    colTiles: divideUp(n, tile.cols),
    packedBatch: b.batch.every((stride) => stride === 0) ? 1 : batchSize(shape),
  };
}

type Locals = Record<Word, Local<"i32">>;

/** The address of an operand's matrix number `batch`. */
export function matrixAt(f: Func, w: Locals, operand: "a" | "b", batch: I32, elementBytes = 4): Local<"i32"> {
  const outer = f.let(i32.div_u(batch, w.batch2));
  const term = (index: I32, axis: 0 | 1 | 2): I32 => i32.mul(index, w[`${operand}Batch${axis}`]);
  const offset = i32.add(
    i32.add(term(i32.rem_u(batch, w.batch2), 2), term(i32.rem_u(outer, w.batch1), 1)),
    term(i32.div_u(outer, w.batch1), 0),
  );
  return f.let(at(w[operand], offset, elementBytes));
}

/** Splits a tile's number into its batch item, first row and first column, and how much of it exists. */
export function locate(f: Func, tile: I32, w: Locals) {
  const block = f.let(i32.div_u(tile, w.colTiles));
  const batch = f.let(i32.div_u(block, w.rowTiles));
  const row = f.let(i32.mul(i32.rem_u(block, w.rowTiles), w.tileRows));
  const col = f.let(i32.mul(i32.rem_u(tile, w.colTiles), w.tileCols));
  return {
    batch,
    row,
    col,
    rows: minimum(f, w.tileRows, i32.sub(w.m, row)),
    cols: minimum(f, w.tileCols, i32.sub(w.n, col)),
  };
}
