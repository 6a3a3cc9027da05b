import { afterAll, expect, test } from "vitest";
import type { Instruction, Operand, Plan, RoutineKernel } from "../../../src/schedule/plan.ts";
import { sizeOf, stridesOf } from "../../../src/shape.ts";
import { hostArrayFrom, type DType, type Shape, type TypedArray } from "../../../src/types.ts";
import { interpret } from "../../schedule/interpreter.ts";
import { contiguous, startRunner } from "./planHarness.ts";

const runner = startRunner(2);
afterAll(() => runner.stop());

const values = (dtype: DType, size: number, seed: number): TypedArray =>
  hostArrayFrom(
    dtype,
    Array.from({ length: size }, (_, i) => {
      const x = ((i * 7919 + seed * 104_729) % 41) - 20;
      return dtype === "u32" ? Math.abs(x) : dtype === "i32" ? x : x / 8;
    }),
  );

interface Product {
  op: "matmul" | "groupedMatmul";
  attrs?: object;
  /** Operands with the size of their buffers. */
  operands: readonly { operand: Operand; size: number; data?: TypedArray }[];
  rows?: readonly number[];
  shape: Shape;
  dtype: DType;
  /** Adds a vector along the last axis and clips at 0, into a second root the sum alone. */
  fused?: boolean;
}

/** Compares a product on wasm with the interpreter. All numbers are small multiples of 1/8, so every sum is exact. */
async function expectInterpreted(p: Product): Promise<void> {
  const leaves = p.operands.map(({ data, size, operand }, i) => data ?? values(operand.dtype, size, i));
  const buffers: Plan["buffers"][number][] = [];
  const leaf = (dtype: DType, data: TypedArray): number =>
    buffers.push({ dtype, size: data.length, source: { kind: "leaf", index: buffers.length } }) - 1;
  p.operands.forEach(({ operand }, i) => leaf(operand.dtype, leaves[i]));
  let rows: Operand | undefined;
  if (p.rows) {
    leaves.push(Int32Array.from(p.rows));
    rows = contiguous(leaf("i32", leaves.at(-1)!), { shape: [p.rows.length], dtype: "i32" });
  }
  const n = p.shape[p.shape.length - 1];
  if (p.fused) {
    leaves.push(values(p.dtype, n, 99));
    leaf(p.dtype, leaves.at(-1)!);
  }
  const root = (index: number): number =>
    buffers.push({ dtype: p.dtype, size: sizeOf(p.shape), source: { kind: "root", index } }) - 1;
  const view = { offset: 0, strides: stridesOf(p.shape) };
  const bias = { offset: 0, strides: p.shape.map((_, axis) => (axis === p.shape.length - 1 ? 1 : 0)) };
  const { dtype } = p;
  const fused: Instruction[] = [
    { op: "result", dtype },
    { op: "load", dtype, buffer: buffers.length - 1, view: bias },
    { op: "map", fn: "add", dtype, args: [0, 1] },
    { op: "map", fn: "relu", dtype, args: [2] },
  ];
  const kernel = {
    kind: "routine",
    name: p.op,
    op: p.op,
    attrs: p.attrs ?? {},
    operands: p.operands.map((o) => o.operand),
    rows,
    shape: p.shape,
    dtype,
    epilogue: p.fused
      ? { body: fused, stores: [3, 2].map((value, i) => ({ buffer: root(i), view, value })) }
      : { body: [{ op: "result", dtype }], stores: [{ buffer: root(0), view, value: 0 }] },
  } as RoutineKernel;
  const plan: Plan = { buffers, kernels: [kernel], numbers: [] };
  const got = await runner.run(plan, leaves);
  expect(got).toEqual(interpret(plan, leaves, []));
}

const dense = (buffer: number, dtype: DType, shape: Shape) => ({
  operand: contiguous(buffer, { shape, dtype }),
  size: sizeOf(shape),
});

const strided = (buffer: number, dtype: DType, shape: Shape, strides: number[], offset: number, size: number) => ({
  operand: { buffer, dtype, shape, view: { offset, strides } },
  size,
});

const dtypes = ["f32", "f64", "i32", "u32"] as const;
const cases = dtypes.flatMap((dtype) => [false, true].map((fused) => [dtype, fused] as const));

test.each(cases)("a %s product (fused %s) of a transposed slice and a broadcast matrix", (dtype, fused) =>
  expectInterpreted({
    op: "matmul",
    operands: [strided(0, dtype, [3, 17, 9], [200, 1, 19], 5, 700), strided(1, dtype, [3, 9, 21], [0, 21, 1], 0, 189)],
    shape: [3, 17, 21],
    dtype,
    fused,
  }),
);

test.each(cases)("a %s product (fused %s) with more batch axes than the kernels step through", (dtype, fused) =>
  expectInterpreted({
    op: "matmul",
    operands: [
      strided(0, dtype, [2, 2, 2, 2, 3, 4], [96, 12, 24, 48, 4, 1], 0, 192),
      dense(1, dtype, [2, 2, 2, 2, 4, 5]),
    ],
    shape: [2, 2, 2, 2, 3, 5],
    dtype,
    fused,
  }),
);

test.each(cases)("a %s product (fused %s) of chosen rows, some out of range", (dtype, fused) =>
  expectInterpreted({
    op: "matmul",
    operands: [dense(0, dtype, [6, 8]), dense(1, dtype, [8, 12])],
    rows: [5, 0, -1, 6, 2, 2, 1],
    shape: [7, 12],
    dtype,
    fused,
  }),
);

test.each(["rows", "contract"] as const)(
  "grouped %s products of every dtype, rows chosen or not, fused or not",
  async (mode) => {
    for (const [dtype, fused] of cases) {
      for (const rows of [undefined, [3, 3, -2, 0, 9, 8, 1, 10]]) {
        const m = 8;
        const offsets = { ...dense(2, "i32", [4]), data: Int32Array.of(0, 3, 3, 7) };
        const lhs = dense(0, dtype, [rows ? 10 : m, 6]);
        const rhs = mode === "rows" ? strided(1, dtype, [3, 6, 20], [120, 1, 6], 0, 360) : dense(1, dtype, [m, 20]);
        const shape = mode === "rows" ? [m, 20] : [3, 6, 20];
        await expectInterpreted({
          op: "groupedMatmul",
          attrs: { mode },
          operands: [lhs, rhs, offsets],
          rows,
          shape,
          dtype,
          fused,
        });
      }
    }
  },
);

test.each(["rows", "contract"] as const)(
  "grouped %s products of groups of 0 to 20 rows are exact, rows chosen or not, matrices transposed or not",
  async (mode) => {
    const offsets = [0];
    for (let i = 0; i <= 20; i++) offsets.push(offsets[i] + ((8 * i) % 21));
    const [m, k, n, groups] = [offsets[21] + 5, 70, 50, 21];
    for (const dtype of ["f32", "f64"] as const)
      for (const rows of [undefined, Array.from({ length: m }, (_, i) => ((i * 37) % 95) - 2)])
        for (const transposed of [false, true]) {
          const [items, depth] = mode === "rows" ? [groups, k] : [1, m];
          const matrix = transposed ? [1, depth] : [n, 1];
          const shape = mode === "rows" ? [groups, k, n] : [m, n];
          const strides = mode === "rows" ? [k * n, ...matrix] : matrix;
          await expectInterpreted({
            op: "groupedMatmul",
            attrs: { mode },
            operands: [
              dense(0, dtype, [rows ? 90 : m, k]),
              strided(1, dtype, shape, strides, 0, items * depth * n),
              { ...dense(2, "i32", [groups + 1]), data: Int32Array.from(offsets) },
            ],
            rows,
            shape: mode === "rows" ? [m, n] : [groups, k, n],
            dtype,
          });
        }
  },
);

test("products of nothing are zeros", async () => {
  await expectInterpreted({
    op: "matmul",
    operands: [dense(0, "f32", [4, 0]), dense(1, "f32", [0, 5])],
    shape: [4, 5],
    dtype: "f32",
  });
  await expectInterpreted({
    op: "matmul",
    operands: [dense(0, "f32", [0, 3]), dense(1, "f32", [3, 5])],
    shape: [0, 5],
    dtype: "f32",
  });
  const offsets = { ...dense(2, "i32", [1]), data: Int32Array.of(0) };
  const operands = [dense(0, "f32", [4, 3]), dense(1, "f32", [0, 3, 5]), offsets];
  await expectInterpreted({ op: "groupedMatmul", attrs: { mode: "rows" }, operands, shape: [4, 5], dtype: "f32" });
});
