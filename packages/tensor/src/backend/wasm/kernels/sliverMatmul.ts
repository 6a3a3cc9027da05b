/** C = A·B in f32 for vectors and slivers of matrices, without packing. */
import {
  assemble,
  call,
  f32,
  f32x4,
  i32,
  v128,
  type EmitOptions,
  type Func,
  type I32,
  type Local,
} from "../assembler.ts";
import { at, defineRun, homeOf, type Epilogue } from "./kernel.ts";
import {
  batchSize,
  divideUp,
  locate,
  MATMUL_WORDS,
  matmulExtents,
  matrixAt,
  REGISTER_TILE,
  type MatmulRoutine,
  type MatmulShape,
} from "./matmulShape.ts";

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
    tileRows: SLIVER_TILE,
    tileCols: SLIVER_TILE,
    rowTiles: divideUp(shape.m, SLIVER_TILE),
    colTiles: divideUp(shape.n, SLIVER_TILE),
  });
  const emit = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const finish = epilogue?.define(m, MATMUL_WORDS.length);
      defineRun(m, MATMUL_WORDS, (f, tile, w, { args, scratch }) => {
        const { batch, row, col, rows, cols } = locate(f, tile, w);
        const bytes = (elements: I32): Local<"i32"> => f.let(i32.shl(elements, 2));
        const [aRow, aCol, bRow, bCol] = [bytes(w.aRow), bytes(w.aCol), bytes(w.bRow), bytes(w.bCol)];
        const a = f.let(at(matrixAt(f, w, "a", batch), row, aRow));
        const b = f.let(at(matrixAt(f, w, "b", batch), col, bCol));
        const place = { line: i32.add(i32.mul(batch, w.m), row), col };
        const { c: corner, stride } = homeOf(f, w, scratch, epilogue, place);
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
        if (finish) f.do(call(finish, args, batch, row, col, rows, cols, corner, stride));
      });
    });
  return {
    name: "matmul sliver",
    words: MATMUL_WORDS,
    extents: slivers,
    temporaryBytes: () => 0,
    steps: [
      { name: "product", emit, tiles: (shape) => batchSize(shape) * slivers(shape).rowTiles * slivers(shape).colTiles },
    ],
  };
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
