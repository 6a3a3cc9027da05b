/**
 * The matrix products of the element types nobody waits for: plain loops, one scalar at a time, over the argument
 * blocks of the f32 kernels. Each element of a result is one sum, in the order of k. u32 is i32: products wrap alike.
 */
import { assemble, f64, i32, type EmitOptions, type Expr, type Func, type I32 } from "../assembler.ts";
import {
  groupedExtents,
  GROUPED_WORDS,
  lhsRow,
  offsetAt,
  type GroupedRoutine,
  type GroupedShape,
} from "./groupedMatmul.ts";
import { at, defineRun } from "./kernel.ts";
import {
  matmulExtents,
  MATMUL_WORDS,
  matrixAt,
  REGISTER_TILE,
  type MatmulRoutine,
  type MatmulShape,
} from "./matmulShape.ts";

export type ScalarElement = "f64" | "i32";

const BYTES = { f64: 8, i32: 4 } as const;

interface Dot {
  /** Addresses of the first elements, and what to add to each to reach the next. */
  readonly a: I32;
  readonly aStep: I32;
  readonly b: I32;
  readonly bStep: I32;
  readonly count: I32;
}

/** Stores the sum of products at `to`. */
function storeDot(f: Func, element: ScalarElement, to: I32, { a, aStep, b, bStep, count }: Dot): void {
  const space = element === "f64" ? f64 : i32;
  const arithmetic = space as {
    add(x: Expr, y: Expr): Expr;
    mul(x: Expr, y: Expr): Expr;
    load(x: I32): Expr;
    store(x: I32, y: Expr): Expr<"void">;
  };
  const sum = f.let<"f64" | "i32">(space.const(0));
  const [x, y, i] = [f.let(i32.add(a, 0)), f.let(i32.add(b, 0)), f.local("i32")];
  f.for(i, 0, count, 1, () => {
    f.set(sum, arithmetic.add(sum, arithmetic.mul(arithmetic.load(x), arithmetic.load(y))) as Expr<"f64" | "i32">);
    f.set(x, i32.add(x, aStep));
    f.set(y, i32.add(y, bStep));
  });
  f.do(arithmetic.store(to, sum));
}

/** `packedMatmul` for another element type; a tile is a row. */
export function scalarMatmul(element: ScalarElement): MatmulRoutine {
  const bytes = BYTES[element];
  const emit = (options: EmitOptions) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      defineRun(m, MATMUL_WORDS, (f, tile, w) => {
        const batch = f.let(i32.div_u(tile, w.m));
        const a = f.let(at(matrixAt(f, w, "a", batch, bytes), i32.mul(i32.rem_u(tile, w.m), w.aRow), bytes));
        const b = f.let(matrixAt(f, w, "b", batch, bytes));
        const [aStep, bStep, bCol] = [
          f.let(i32.mul(w.aCol, bytes)),
          f.let(i32.mul(w.bRow, bytes)),
          f.let(i32.mul(w.bCol, bytes)),
        ];
        const c = f.let(at(w.c, i32.mul(tile, w.n), bytes));
        const j = f.local("i32");
        f.for(j, 0, w.n, 1, () =>
          storeDot(f, element, at(c, j, bytes), { a, aStep, b: at(b, j, bCol), bStep, count: w.k }),
        );
      });
    });
  return {
    name: `matmul ${element}`,
    words: MATMUL_WORDS,
    extents: (shape: MatmulShape) => matmulExtents(shape, REGISTER_TILE),
    temporaryBytes: () => 0,
    steps: [{ name: "product", emit, tiles: ({ batch, m }) => batch.reduce((x, y) => x * y, m) }],
  };
}

/** `groupedRows` for another element type, without a gather; a tile is a row. */
export function scalarGroupedRows(element: ScalarElement): GroupedRoutine {
  const bytes = BYTES[element];
  return scalarGrouped(
    `groupedMatmul rows ${element}`,
    ({ m }) => m,
    (options) =>
      assemble(options, (m) => {
        m.importMemory("env", "memory");
        defineRun(m, GROUPED_WORDS, (f, row, w) => {
          const [group, end, j] = [f.let(i32.const(0)), f.local("i32"), f.local("i32")];
          f.block((found) =>
            f.loop((again) => {
              f.brIf(found, i32.eq(group, w.groups));
              f.set(end, i32.load(at(w.offsets, group, 4), 4));
              f.brIf(found, i32.lt_s(row, end));
              f.set(group, i32.add(group, 1));
              f.br(again);
            }),
          );
          const count = f.let(i32.mul(w.k, i32.lt_s(group, w.groups))); // past the last offset: an empty sum
          const a = f.let(lhsRow(f, w, false, i32.mul(w.aRow, bytes))(row));
          const b = f.let(at(w.b, i32.mul(group, w.bGroup), bytes));
          const [aStep, bStep, bCol] = [
            f.let(i32.mul(w.aCol, bytes)),
            f.let(i32.mul(w.bRow, bytes)),
            f.let(i32.mul(w.bCol, bytes)),
          ];
          const c = f.let(at(w.c, i32.mul(row, w.n), bytes));
          f.for(j, 0, w.n, 1, () =>
            storeDot(f, element, at(c, j, bytes), { a, aStep, b: at(b, j, bCol), bStep, count }),
          );
        });
      }),
  );
}

/** `groupedContract` for another element type, without a gather; a tile is a row of one group's matrix. */
export function scalarGroupedContract(element: ScalarElement): GroupedRoutine {
  const bytes = BYTES[element];
  return scalarGrouped(
    `groupedMatmul contract ${element}`,
    ({ groups, k }) => groups * k,
    (options) =>
      assemble(options, (m) => {
        m.importMemory("env", "memory");
        defineRun(m, GROUPED_WORDS, (f, tile, w) => {
          const group = f.let(i32.div_u(tile, w.k));
          const first = f.let(offsetAt(w, group, i32.const(0)));
          const count = f.let(i32.sub(offsetAt(w, i32.add(group, 1), first), first));
          const [aStep, bStep, bCol] = [
            f.let(i32.mul(w.aRow, bytes)),
            f.let(i32.mul(w.bRow, bytes)),
            f.let(i32.mul(w.bCol, bytes)),
          ];
          const a = f.let(at(at(w.a, first, aStep), i32.mul(i32.rem_u(tile, w.k), w.aCol), bytes));
          const b = f.let(at(w.b, first, bStep));
          const c = f.let(at(w.c, i32.mul(tile, w.n), bytes));
          const j = f.local("i32");
          f.for(j, 0, w.n, 1, () =>
            storeDot(f, element, at(c, j, bytes), { a, aStep, b: at(b, j, bCol), bStep, count }),
          );
        });
      }),
  );
}

function scalarGrouped(
  name: string,
  tiles: (shape: GroupedShape) => number,
  emit: (options: EmitOptions) => Uint8Array<ArrayBuffer>,
): GroupedRoutine {
  return {
    name,
    words: GROUPED_WORDS,
    extents: (shape) => groupedExtents(shape, shape.m, { rows: 1, cols: shape.n }),
    temporaryBytes: () => 0,
    steps: [{ name: "product", emit, tiles }],
  };
}
