import { expect, test } from "vitest";
import type { Plan } from "../../src/schedule/plan.ts";
import { interpret } from "./interpreter.ts";

const leaf = (size: number, index: number) => ({ dtype: "f32", size, source: { kind: "leaf", index } }) as const;
const root = (size: number, index: number) => ({ dtype: "f32", size, source: { kind: "root", index } }) as const;

test("a softmax in one kernel is a softmax", () => {
  const row = { offset: 0, strides: [3, 1] };
  const plan: Plan = {
    buffers: [leaf(6, 0), root(6, 0)],
    numbers: [],
    kernels: [
      {
        kind: "loop",
        name: "softmax",
        outer: [2],
        row: [3],
        stages: [
          {
            kind: "reduce",
            op: "max",
            dtype: "f32",
            value: 0,
            body: [{ op: "load", dtype: "f32", buffer: 0, view: row }],
          },
          {
            kind: "reduce",
            op: "sum",
            dtype: "f32",
            value: 3,
            body: [
              { op: "load", dtype: "f32", buffer: 0, view: row },
              { op: "reduced", dtype: "f32", stage: 0 },
              { op: "map", dtype: "f32", fn: "sub", args: [0, 1] },
              { op: "map", dtype: "f32", fn: "exp", args: [2] },
            ],
          },
          {
            kind: "map",
            over: "row",
            stores: [{ buffer: 1, view: row, value: 5 }],
            body: [
              { op: "load", dtype: "f32", buffer: 0, view: row },
              { op: "reduced", dtype: "f32", stage: 0 },
              { op: "map", dtype: "f32", fn: "sub", args: [0, 1] },
              { op: "map", dtype: "f32", fn: "exp", args: [2] },
              { op: "reduced", dtype: "f32", stage: 1 },
              { op: "map", dtype: "f32", fn: "div", args: [3, 4] },
            ],
          },
        ],
      },
    ],
  };
  const [y] = interpret(plan, [Float32Array.of(0, 0, 0, 1, 2, 3)], []);
  const total = 1 + Math.E + Math.E ** 2;
  const expected = [1 / 3, 1 / 3, 1 / 3, 1 / total, Math.E / total, Math.E ** 2 / total];
  expected.forEach((x, i) => expect(y[i]).toBeCloseTo(x, 6));
});

test("a matrix product takes chosen rows, reads zeros for a row out of range, and stores through its epilogue", () => {
  const plan: Plan = {
    buffers: [leaf(6, 0), leaf(4, 1), { ...leaf(3, 2), dtype: "i32" }, root(6, 0)],
    numbers: ["f32"],
    kernels: [
      {
        kind: "routine",
        name: "matmul",
        op: "matmul",
        attrs: {},
        dtype: "f32",
        shape: [3, 2],
        operands: [
          { buffer: 0, dtype: "f32", shape: [3, 2], view: { offset: 0, strides: [2, 1] } },
          { buffer: 1, dtype: "f32", shape: [2, 2], view: { offset: 0, strides: [1, 2] } },
        ],
        rows: { buffer: 2, dtype: "i32", shape: [3], view: { offset: 0, strides: [1] } },
        epilogue: {
          body: [
            { op: "result", dtype: "f32" },
            { op: "number", dtype: "f32", slot: 0 },
            { op: "map", dtype: "f32", fn: "mul", args: [0, 1] },
          ],
          stores: [{ buffer: 3, view: { offset: 0, strides: [2, 1] }, value: 2 }],
        },
      },
    ],
  };
  const [y] = interpret(
    plan,
    [Float32Array.of(1, 2, 3, 4, 5, 6), Float32Array.of(1, 1, 1, -1), Int32Array.of(2, 3, 0)],
    [10],
  );
  expect([...y]).toEqual([110, -10, 0, 0, 30, -10]);
});
