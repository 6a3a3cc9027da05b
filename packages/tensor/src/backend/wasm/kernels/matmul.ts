/** C[b, m, n] = A[b, m, k] · B[b, k, n] in f32: packed panels for matrices, and a plain kernel for vectors and slivers. */
import { assemble, call, f32, f32x4, i32, v128, type EmitOptions, type Func, type I32, type Local } from "../assembler.ts";
import { at, defineRun, minimum, SCRATCH_BYTES, type Epilogue, type Routine } from "./kernel.ts";
import { defineBlock, defineEpilogue, definePackColumns, K_BLOCK, packRows, type RegisterTile } from "./panels.ts";

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
  "m", "n", "k", "aRow", "aCol", "bRow", "bCol",
  "batch1", "batch2", "aBatch0", "aBatch1", "aBatch2", "bBatch0", "bBatch1", "bBatch2",
  "tileRows", "tileCols", "rowTiles", "colTiles", "packedBatch",
] as const;
export const MATMUL_WORDS = ["a", "b", "c", "temporary", ...EXTENTS] as const;
type Word = (typeof MATMUL_WORDS)[number];

export type MatmulRoutine = Routine<MatmulShape, MatmulPointer, (typeof EXTENTS)[number]>;

/** Register tiles by measurement: the second for engines that fuse adjacent 128-bit operations into 256-bit ones. */
export const REGISTER_TILE: RegisterTile = { rows: 6, cols: 8 };
export const WIDE_REGISTER_TILE: RegisterTile = { rows: 6, cols: 16 };

const divideUp = (a: number, b: number): number => Math.ceil(a / b);
const batchSize = ({ batch }: MatmulShape): number => batch.reduce((a, b) => a * b, 1);

/** Tiles to claim: at most 96 × 1024, shrunk while there are few, as long as each is worth claiming. */
export function claimTile(m: number, n: number, k: number, batch: number, register: RegisterTile): { rows: number; cols: number } {
  const up = (x: number, unit: number): number => Math.max(divideUp(x, unit), 1) * unit;
  let rows = Math.min(up(m, register.rows), 96);
  let cols = Math.min(up(n, register.cols), 1024);
  const few = (): boolean => batch * divideUp(m, rows) * divideUp(n, cols) < 16 && rows * cols * k > 1 << 18;
  while (few() && rows > 24) rows = up(rows / 2, register.rows);
  while (few() && cols > 4 * register.cols) cols = up(cols / 2, register.cols);
  return { rows, cols };
}

export function matmulExtents(shape: MatmulShape, register: RegisterTile) {
  const { m, n, k, a, b, batch } = shape;
  const last = (list: readonly number[], fill: number): number[] => [...Array<number>(3 - list.length).fill(fill), ...list];
  const [, batch1, batch2] = last(batch, 1) as [number, number, number];
  const [aBatch0, aBatch1, aBatch2] = last(a.batch, 0) as [number, number, number];
  const [bBatch0, bBatch1, bBatch2] = last(b.batch, 0) as [number, number, number];
  const tile = claimTile(m, n, k, batchSize(shape), register);
  return {
    m, n, k, aRow: a.row, aCol: a.col, bRow: b.row, bCol: b.col, batch1, batch2, aBatch0, aBatch1, aBatch2, bBatch0, bBatch1, bBatch2,
    tileRows: tile.rows, tileCols: tile.cols, rowTiles: divideUp(m, tile.rows), colTiles: divideUp(n, tile.cols),
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
function locate(f: Func, tile: I32, w: Locals) {
  const block = f.let(i32.div_u(tile, w.colTiles));
  const batch = f.let(i32.div_u(block, w.rowTiles));
  const row = f.let(i32.mul(i32.rem_u(block, w.rowTiles), w.tileRows));
  const col = f.let(i32.mul(i32.rem_u(tile, w.colTiles), w.tileCols));
  return { batch, row, col, rows: minimum(f, w.tileRows, i32.sub(w.m, row)), cols: minimum(f, w.tileCols, i32.sub(w.n, col)) };
}

const panelCount = (n: number, register: RegisterTile): number => divideUp(n, register.cols);

/**
 * Two steps: B is packed once, by all threads, into column panels; then each tile packs its own rows of A, a block of
 * k at a time, and multiplies.
 */
export function packedMatmul(register: RegisterTile): MatmulRoutine {
  const panelBytes = (k: I32): I32 => i32.mul(k, 4 * register.cols);
  const panels = (n: I32): I32 => i32.div_u(i32.add(n, register.cols - 1), i32.const(register.cols));

  const emitPack = (options: EmitOptions) => assemble(options, (m) => {
    m.importMemory("env", "memory");
    const pack = definePackColumns(m, register);
    defineRun(m, MATMUL_WORDS, (f, tile, w) => {
      const count = f.let(panels(w.n));
      const col = f.let(i32.mul(i32.rem_u(tile, count), register.cols));
      const matrix = matrixAt(f, w, "b", i32.div_u(tile, count));
      const [rowStride, colStride] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
      const cols = minimum(f, i32.sub(w.n, col), i32.const(register.cols));
      f.do(call(pack, at(w.temporary, tile, panelBytes(w.k)), at(matrix, col, colStride), rowStride, colStride, cols, w.k));
    });
  });

  const emitProduct = (options: EmitOptions, epilogue?: Epilogue) => assemble(options, (m) => {
    m.importMemory("env", "memory");
    const block = defineBlock(m, register);
    const finish = epilogue && defineEpilogue(m, epilogue);
    defineRun(m, MATMUL_WORDS, (f, tile, w, { args, scratch }) => {
      const { batch, row, col, rows, cols } = locate(f, tile, w);
      const [rowStride, colStride, stride] = [f.let(i32.shl(w.aRow, 2)), f.let(i32.shl(w.aCol, 2)), f.let(i32.shl(w.n, 2))];
      const a = f.let(at(matrixAt(f, w, "a", batch), row, rowStride));
      const item = f.let(i32.mul(batch, i32.gt_s(w.packedBatch, 1)));
      const panel = i32.add(i32.mul(item, panels(w.n)), i32.div_u(col, i32.const(register.cols)));
      const b = f.let(at(w.temporary, panel, panelBytes(w.k)));
      const c = f.let(i32.add(at(w.c, i32.add(i32.mul(batch, w.m), row), stride), i32.shl(col, 2)));
      const [depth, start] = [f.local("i32"), f.let(i32.const(0))];
      const pad = f.let(i32.add(scratch, SCRATCH_BYTES - 4 * register.rows * register.cols));
      f.loop((again) => { // once even if k is 0: an empty sum is zero
        f.set(depth, minimum(f, i32.sub(w.k, start), i32.const(K_BLOCK)));
        const from = f.let(at(a, start, colStride));
        packRows(f, register, { to: scratch, rows, k: depth, colStride, adjacent: i32.eq(rowStride, 4) }, (r) => at(from, r, rowStride));
        f.do(call(block, scratch, at(b, start, i32.const(4 * register.cols)), panelBytes(w.k), depth, c, stride, rows, cols, i32.eqz(start), pad));
        f.set(start, i32.add(start, K_BLOCK));
        f.brIf(again, i32.lt_s(start, w.k));
      });
      if (finish !== undefined) f.do(call(finish, args, batch, row, col, rows, cols, c, stride));
    });
  });

  return {
    words: MATMUL_WORDS,
    extents: (shape) => matmulExtents(shape, register),
    temporaryBytes: (shape) => matmulExtents(shape, register).packedBatch * panelCount(shape.n, register) * register.cols * shape.k * 4,
    steps: [
      { name: "pack", emit: emitPack, tiles: (shape) => matmulExtents(shape, register).packedBatch * panelCount(shape.n, register) },
      {
        name: "product",
        emit: emitProduct,
        tiles: (shape) => batchSize(shape) * matmulExtents(shape, register).rowTiles * matmulExtents(shape, register).colTiles,
      },
    ],
  };
}

/** A tile of the plain kernel. */
const SLIVER_TILE = 64;

/**
 * One step, nothing packed: for few rows (or few columns, the product transposed) every element of the matrix is used
 * once or twice, so copying it first would cost as much as the product. Each element of C is one sum, in an order that
 * depends on the strides only.
 */
export function sliverMatmul(): MatmulRoutine {
  const slivers = (shape: MatmulShape) => ({
    ...matmulExtents(shape, REGISTER_TILE),
    tileRows: SLIVER_TILE, tileCols: SLIVER_TILE, rowTiles: divideUp(shape.m, SLIVER_TILE), colTiles: divideUp(shape.n, SLIVER_TILE),
  });
  const emit = (options: EmitOptions, epilogue?: Epilogue) => assemble(options, (m) => {
    m.importMemory("env", "memory");
    const finish = epilogue && defineEpilogue(m, epilogue);
    defineRun(m, MATMUL_WORDS, (f, tile, w, { args }) => {
      const { batch, row, col, rows, cols } = locate(f, tile, w);
      const bytes = (elements: I32): Local<"i32"> => f.let(i32.shl(elements, 2));
      const [aRow, aCol, bRow, bCol] = [bytes(w.aRow), bytes(w.aCol), bytes(w.bRow), bytes(w.bCol)];
      const stride = f.let(i32.shl(w.n, 2));
      const a = f.let(at(matrixAt(f, w, "a", batch), row, aRow));
      const b = f.let(at(matrixAt(f, w, "b", batch), col, bCol));
      const corner = f.let(i32.add(at(w.c, i32.add(i32.mul(batch, w.m), row), stride), i32.shl(col, 2)));
      const c = f.let(corner);
      const i = f.local("i32");
      f.for(i, 0, rows, 1, () => {
        const j = f.let(i32.const(0));
        const line = { a, aCol, b, bRow, bCol, c, j, k: w.k };
        f.if(i32.eq(bCol, 4), () => {
          f.while(i32.le_s(i32.add(j, 16), cols), () => alongColumns(f, line, 4));
          f.while(i32.le_s(i32.add(j, 4), cols), () => alongColumns(f, line, 1));
        });
        f.if(i32.and(i32.eq(bRow, 4), i32.eq(aCol, 4)), () => {
          f.while(i32.le_s(i32.add(j, 4), cols), () => alongDepth(f, line, 4));
          f.while(i32.lt_s(j, cols), () => alongDepth(f, line, 1));
        });
        f.while(i32.lt_s(j, cols), () => oneByOne(f, line));
        f.set(a, i32.add(a, aRow));
        f.set(c, i32.add(c, stride));
      });
      if (finish !== undefined) f.do(call(finish, args, batch, row, col, rows, cols, corner, stride));
    });
  });
  return {
    words: MATMUL_WORDS,
    extents: slivers,
    temporaryBytes: () => 0,
    steps: [{ name: "product", emit, tiles: (shape) => batchSize(shape) * slivers(shape).rowTiles * slivers(shape).colTiles }],
  };
}

/** The routine to use: which one changes speed and rounding, never meaning. `wide` where the engine fuses to 256 bits. */
export function chooseMatmul({ m, n, a, b }: MatmulShape, wide: boolean): MatmulRoutine {
  const alongK = a.col === 1 && b.row === 1;
  const sliver = (m <= 4 && (b.col === 1 || alongK)) || (n < 4 && alongK);
  return sliver ? sliverMatmul() : packedMatmul(wide ? WIDE_REGISTER_TILE : REGISTER_TILE);
}

interface Line {
  readonly a: I32;
  readonly aCol: I32;
  readonly b: I32;
  readonly bRow: I32;
  readonly bCol: I32;
  readonly c: I32;
  readonly k: I32;
  /** The column to compute; moved past those computed. */
  readonly j: Local<"i32">;
}

/** 4·vectors columns at once, B's columns being adjacent. */
function alongColumns(f: Func, { a, aCol, b, bCol, bRow, c, j, k }: Line, vectors: number): void {
  const sums = Array.from({ length: vectors }, () => f.let(f32x4.const(0)));
  const [x, y, i] = [f.let(i32.add(a, i32.const(0))), f.let(at(b, j, bCol)), f.local("i32")];
  f.for(i, 0, k, 1, () => {
    const left = f.let(v128.load32_splat(x));
    sums.forEach((sum, v) => f.set(sum, f32x4.madd(left, v128.load(y, 16 * v), sum)));
    f.set(x, i32.add(x, aCol));
    f.set(y, i32.add(y, bRow));
  });
  sums.forEach((sum, v) => f.do(v128.store(at(c, j, 4), sum, 16 * v)));
  f.set(j, i32.add(j, 4 * vectors));
}

/** `count` columns at once, each a sum of four along k, A's row and B's columns both being contiguous. */
function alongDepth(f: Func, { a, b, bCol, c, j, k }: Line, count: number): void {
  const columns = Array.from({ length: count }, (_, v) => f.let(at(b, i32.add(j, v), bCol)));
  const sums = columns.map(() => f.let(f32x4.const(0)));
  const [x, i] = [f.let(i32.add(a, i32.const(0))), f.local("i32")];
  f.for(i, 0, i32.and(k, -4), 4, () => {
    const left = f.let(v128.load(x));
    sums.forEach((sum, v) => f.set(sum, f32x4.madd(left, v128.load(columns[v]!), sum)));
    [x, ...columns].forEach((pointer) => f.set(pointer, i32.add(pointer, 16)));
  });
  f.for(i, i32.and(k, -4), k, 1, () => {
    const left = f.let(v128.load32_zero(x));
    sums.forEach((sum, v) => f.set(sum, f32x4.add(f32x4.mul(left, v128.load32_zero(columns[v]!)), sum)));
    [x, ...columns].forEach((pointer) => f.set(pointer, i32.add(pointer, 4)));
  });
  sums.forEach((sum, v) => {
    const lane = (l: number) => f32x4.extract(sum, l);
    f.do(f32.store(at(c, j, 4), f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3))), 4 * v));
  });
  f.set(j, i32.add(j, count));
}

function oneByOne(f: Func, { a, aCol, b, bRow, bCol, c, j, k }: Line): void {
  const sum = f.let(f32.const(0));
  const [x, y, i] = [f.let(i32.add(a, i32.const(0))), f.let(at(b, j, bCol)), f.local("i32")];
  f.for(i, 0, k, 1, () => {
    f.set(sum, f32.add(sum, f32.mul(f32.load(x), f32.load(y))));
    f.set(x, i32.add(x, aCol));
    f.set(y, i32.add(y, bRow));
  });
  f.do(f32.store(at(c, j, 4), sum));
  f.set(j, i32.add(j, 1));
}
