import { describe, expect, test } from "vitest";
import { f32, i32 } from "../../../../src/backend/wasm/assembler.ts";
import { at } from "../../../../src/backend/wasm/kernels/kernel.ts";
import { chooseMatmul, freshMatmul, packedMatmul } from "../../../../src/backend/wasm/kernels/matmul.ts";
import {
  REGISTER_TILE,
  WIDE_REGISTER_TILE,
  type MatmulShape,
} from "../../../../src/backend/wasm/kernels/matmulShape.ts";
import { sliverMatmul } from "../../../../src/backend/wasm/kernels/sliverMatmul.ts";
import { random, randoms, runRoutine, storing, type RunOptions } from "./harness.ts";

const routines = {
  packed: packedMatmul(REGISTER_TILE),
  "packed for 256 bits": packedMatmul(WIDE_REGISTER_TILE),
  fresh: freshMatmul(REGISTER_TILE),
  "fresh for 256 bits": freshMatmul(WIDE_REGISTER_TILE),
  sliver: sliverMatmul(),
};

type Layout = "rows" | "columns" | "scattered";

function operand(layout: Layout, rows: number, cols: number, batch: readonly number[]) {
  const [row, col] = { rows: [cols, 1], columns: [1, rows], scattered: [3 * cols + 1, 3] }[layout] as [number, number];
  const size = Math.max((rows - 1) * row + (cols - 1) * col + 1, 1);
  let stride = size;
  const strides = batch.map((_, i) => batch.slice(i + 1).reduce((a, b) => a * b, stride));
  return { row, col, batch: strides, size: batch.reduce((a, b) => a * b, stride) };
}

/** The definition, in f64, with the sum of absolute products that rounding errors are measured by. */
function naive(shape: MatmulShape, a: Float32Array, b: Float32Array): { value: number; scale: number }[] {
  const out: { value: number; scale: number }[] = [];
  const items = shape.batch.reduce<number[][]>(
    (list, extent) => list.flatMap((index) => Array.from({ length: extent }, (_, i) => [...index, i])),
    [[]],
  );
  for (const item of items) {
    const offset = (strides: readonly number[]): number => item.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);
    for (let i = 0; i < shape.m; i++)
      for (let j = 0; j < shape.n; j++) {
        let [value, scale] = [0, 0];
        for (let l = 0; l < shape.k; l++) {
          const term =
            a[offset(shape.a.batch) + i * shape.a.row + l * shape.a.col]! *
            b[offset(shape.b.batch) + l * shape.b.row + j * shape.b.col]!;
          value += term;
          scale += Math.abs(term);
        }
        out.push({ value, scale });
      }
  }
  return out;
}

function expectClose(got: Float32Array, want: { value: number; scale: number }[], label: string): void {
  const bad = want.findIndex(({ value, scale }, i) => !(Math.abs(got[i]! - value) <= 1e-5 * scale + 1e-30));
  if (bad >= 0) expect.fail(`${label}: element ${bad} is ${got[bad]}, not ${want[bad]!.value}`);
}

const SHAPES = [
  [1, 1, 1],
  [1, 16, 8],
  [2, 16, 4],
  [6, 16, 256],
  [3, 5, 7],
  [7, 17, 300],
  [13, 33, 513],
  [97, 70, 5],
  [4, 130, 64],
  [1, 200, 33],
  [50, 1, 40],
  [6, 18, 0],
  [100, 24, 257],
] as const;

describe.each(Object.entries(routines))("%s", (_, routine) => {
  test.each(["rows", "columns", "scattered"] as const)(
    "the product is the sum of products, the left operand laid out by %s",
    (left) => {
      for (const right of ["rows", "columns", "scattered"] as const)
        for (const [m, n, k] of SHAPES)
          for (const relaxedMadd of [true, false]) {
            const [a, b] = [operand(left, m, k, []), operand(right, k, n, [])];
            const shape: MatmulShape = { batch: [], m, n, k, a, b };
            const [x, y] = [randoms(a.size), randoms(b.size)];
            const got = runRoutine(
              routine,
              shape,
              { a: x, b: y },
              { name: "c", data: new Float32Array(m * n) },
              { relaxedMadd },
            );
            expectClose(got, naive(shape, x, y), `${m}x${k}x${n} ${left} ${right}`);
          }
    },
  );

  test("batches follow their strides, and a broadcast operand is the same in each", () => {
    for (const broadcast of [false, true])
      for (const batch of [[3], [2, 3], [2, 1, 2]]) {
        const [m, n, k] = [5, 20, 9];
        const [a, b] = [operand("rows", m, k, batch), operand("columns", k, n, batch)];
        const shape: MatmulShape = { batch, m, n, k, a, b: broadcast ? { ...b, batch: batch.map(() => 0) } : b };
        const [x, y] = [randoms(a.size), randoms(b.size)];
        const got = runRoutine(
          routine,
          shape,
          { a: x, b: y },
          { name: "c", data: new Float32Array(m * n * batch.reduce((p, q) => p * q)) },
        );
        expectClose(got, naive(shape, x, y), `batch ${batch} broadcast ${broadcast}`);
      }
  });

  test("no split of the tiles changes a bit", () => {
    const [m, n, k] = [100, 300, 300];
    const shape: MatmulShape = { batch: [], m, n, k, a: operand("rows", m, k, []), b: operand("rows", k, n, []) };
    const inputs = { a: randoms(m * k), b: randoms(k * n) };
    const run = (options: RunOptions) =>
      runRoutine(routine, shape, inputs, { name: "c", data: new Float32Array(m * n) }, options);
    const whole = run({});
    expect(run({ chunk: 1 })).toEqual(whole);
    expect(run({ chunk: 3, backwards: true })).toEqual(whole);
    expect(run({ chunk: 1, shared: true })).toEqual(whole);
  });

  test.each(["a", "b", "extra0"])("nothing is read past the end of %s", (last) => {
    for (const [m, n, k] of SHAPES)
      for (const layout of ["rows", "columns"] as const) {
        const [a, b] = [operand(layout, m, k, []), operand(layout, k, n, [])];
        const extra = [randoms(n)];
        const shape: MatmulShape = { batch: [], m, n, k, a, b };
        const epilogue = storing(
          routine,
          (_, row) => row,
          (x, { word, col }) => f32.add(x, f32.load(at(word(0), col, 4))),
        );
        runRoutine(
          routine,
          shape,
          { a: randoms(a.size), b: randoms(b.size) },
          { name: "c", data: new Float32Array(m * n) },
          { last, extra, epilogue },
        );
      }
  });

  test("an epilogue sees every finished element once, with its row and column", () => {
    for (const [m, n, k] of [
      [7, 37, 600],
      [100, 18, 3],
    ] as const) {
      const [a, b] = [operand("rows", m, k, [2]), operand("rows", k, n, [2])];
      const shape: MatmulShape = { batch: [2], m, n, k, a, b };
      const [x, y, bias] = [randoms(a.size), randoms(b.size), randoms(n)];
      const got = runRoutine(
        routine,
        shape,
        { a: x, b: y },
        { name: "c", data: new Float32Array(2 * m * n) },
        {
          extra: [bias],
          epilogue: storing(
            routine,
            (batch, row) => i32.add(i32.mul(batch, m), row),
            (value, { word, batch, row, col }) => {
              const place = f32.convert_i32_s(i32.add(i32.mul(batch, 1000), row));
              return f32.add(f32.mul(value, 2), f32.add(f32.load(at(word(0), col, 4)), place));
            },
          ),
        },
      );
      const want = naive(shape, x, y).map(({ value, scale }, i) => {
        const row = Math.floor(i / n) % m;
        return { value: 2 * value + bias[i % n]! + row + 1000 * Math.floor(i / (m * n)), scale: 2 * scale + 2000 };
      });
      expectClose(got, want, `${m}x${k}x${n}`);
    }
  });

  test("NaN and infinity reach exactly the elements they belong to", () => {
    const [m, n, k] = [9, 21, 10];
    const shape: MatmulShape = { batch: [], m, n, k, a: operand("rows", m, k, []), b: operand("rows", k, n, []) };
    const [a, b] = [randoms(m * k), randoms(k * n)];
    a[8 * k + 3] = NaN;
    b[2 * n + 20] = Infinity;
    const got = runRoutine(routine, shape, { a, b }, { name: "c", data: new Float32Array(m * n) });
    got.forEach((x, i) =>
      expect([Math.floor(i / n) === 8, Number.isNaN(x) || !Number.isFinite(x)], `${i}`).toEqual([
        Math.floor(i / n) === 8,
        Math.floor(i / n) === 8 || i % n === 20,
      ]),
    );
  });
});

test("the register tile does not change a bit", () => {
  for (const [m, n, k] of SHAPES) {
    const shape: MatmulShape = { batch: [], m, n, k, a: operand("rows", m, k, []), b: operand("columns", k, n, []) };
    const inputs = { a: randoms(m * k), b: randoms(k * n) };
    const run = (name: "packed" | "packed for 256 bits") =>
      runRoutine(routines[name], shape, inputs, { name: "c", data: new Float32Array(m * n) });
    expect(run("packed for 256 bits")).toEqual(run("packed"));
  }
});

test("a matrix is packed beforehand only where many rows share it", () => {
  const shape = (m: number, n: number, k: number): MatmulShape => ({
    batch: [],
    m,
    n,
    k,
    a: operand("rows", m, k, []),
    b: operand("rows", k, n, []),
  });
  expect(chooseMatmul(shape(1, 512, 512), false).steps.length).toBe(1);
  expect(chooseMatmul(shape(512, 1, 512), false).steps.length).toBe(1);
  expect(chooseMatmul(shape(64, 64, 64), true).steps.length).toBe(1);
  expect(chooseMatmul(shape(512, 64, 64), true).steps.length).toBe(2);
});

test("random shapes and layouts agree with the definition", () => {
  const layouts = ["rows", "columns", "scattered"] as const;
  const upTo = (limit: number) => 1 + Math.floor(((random() + 1) / 2) * limit);
  for (let round = 0; round < 60; round++) {
    const [m, n, k] = [upTo(120), upTo(80), upTo(400)];
    const shape: MatmulShape = {
      batch: [],
      m,
      n,
      k,
      a: operand(layouts[upTo(3) - 1]!, m, k, []),
      b: operand(layouts[upTo(3) - 1]!, k, n, []),
    };
    const [x, y] = [randoms(3 * m * k + 3 * m + 3 * k), randoms(3 * n * k + 3 * k + 3 * n)];
    for (const [name, routine] of Object.entries(routines)) {
      expectClose(
        runRoutine(routine, shape, { a: x, b: y }, { name: "c", data: new Float32Array(m * n) }),
        naive(shape, x, y),
        `${name} ${m}x${k}x${n}`,
      );
    }
  }
});
