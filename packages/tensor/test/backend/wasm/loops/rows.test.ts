import { describe, expect, test } from "vitest";
import type { Instruction, LoopKernel, Plan, Stage, View } from "../../../../src/schedule/plan.ts";
import type { ReduceOp } from "../../../../src/primitives/reduce.ts";
import { stridesOf } from "../../../../src/shape.ts";
import { hostArrayFrom, type DType, type Shape, type TypedArray } from "../../../../src/types.ts";
import { interpret } from "../../../schedule/interpreter.ts";
import { execute } from "./harness.ts";

const contiguous = (shape: Shape): View => ({ offset: 0, strides: stridesOf(shape) });
const size = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);

/** A plan of one kernel with one leaf and one root. */
const planOf = (
  dtype: DType,
  from: number,
  to: number,
  kernel: Omit<LoopKernel, "kind" | "name">,
  result = dtype,
): Plan => ({
  buffers: [
    { dtype, size: from, source: { kind: "leaf", index: 0 } },
    { dtype: result, size: to, source: { kind: "root", index: 0 } },
  ],
  numbers: [],
  kernels: [{ kind: "loop", name: "test", ...kernel }],
});

const fold = (op: ReduceOp, dtype: DType, body: readonly Instruction[]): Stage => ({
  kind: "reduce",
  op,
  dtype,
  body,
  value: body.length - 1,
});

/** Reduces the axes of `x: shape` that `kept` does not name. */
function reducePlan(op: ReduceOp, dtype: DType, shape: Shape, kept: readonly number[]): Plan {
  const strides = stridesOf(shape);
  const dropped = shape.map((_, i) => i).filter((i) => !kept.includes(i));
  const order = [...kept, ...dropped];
  const outer = kept.map((i) => shape[i]);
  const view = { offset: 0, strides: order.map((i) => strides[i]) };
  return planOf(dtype, size(shape), size(outer), {
    outer,
    row: dropped.map((i) => shape[i]),
    stages: [
      fold(op, dtype, [{ op: "load", dtype, buffer: 0, view }]),
      {
        kind: "map",
        over: "outer",
        body: [{ op: "reduced", dtype, stage: 0 }],
        stores: [{ buffer: 1, view: contiguous(outer), value: 0 }],
      },
    ],
  });
}

/** The same values on every run, of both signs and many magnitudes. */
const noise = (n: number, scale = 1): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => scale * Math.sin(i * 12.9898) * 2 ** ((i * 7) % 5));

const shapes: [string, Shape, number[]][] = [
  ["short contiguous rows", [300, 7], [0]],
  ["contiguous rows", [40, 1027], [0]],
  ["one long row, cut into pieces", [100003], []],
  ["a few long rows, cut into pieces", [3, 50001], [0]],
  ["columns", [1000, 70], [1]],
  ["a few long columns, cut into pieces", [30001, 5], [1]],
  ["tall columns, cut into pieces of lines", [520, 515], [1]],
  ["outer and inner axes of three", [50, 33, 65], [1]],
  ["the middle axis of three", [20, 300, 33], [0, 2]],
  ["outer and inner axes of a large three, cut into pieces of lines", [600, 3, 130], [1]],
  ["four axes, two of them", [6, 5, 40, 9], [0, 2]],
];

describe.each(shapes)("%s", (_, shape, kept) => {
  test("a sum of f32 is within 20 epsilons of the sum of magnitudes", () => {
    const plan = reducePlan("sum", "f32", shape, kept);
    const x = noise(size(shape));
    const [expected] = interpret(plan, [x], []);
    const [magnitude] = interpret(plan, [x.map(Math.abs)], []);
    const { roots } = execute(plan, [x], []);
    expected.forEach((y, i) => expect(Math.abs(roots[0][i] - y)).toBeLessThanOrEqual(20 * 2 ** -24 * magnitude[i]));
  });

  test.each([1, 3, -1, -2])("tiles %i at a time give the same bits", (tilesPerCall) => {
    const plan = reducePlan("sum", "f32", shape, kept);
    const x = noise(size(shape));
    expect(execute(plan, [x], [], { tilesPerCall, garbage: 0 }).roots).toEqual(execute(plan, [x], []).roots);
  });

  test.each(["i32", "u32"] as const)("sums and products of %s wrap, minima and maxima are exact", (dtype) => {
    const x = hostArrayFrom(
      dtype,
      Array.from({ length: size(shape) }, (__, i) => Math.imul(i + 1, 0x9e3779b1) | 1),
    );
    for (const op of ["sum", "prod", "max", "min"] as const) {
      const plan = reducePlan(op, dtype, shape, kept);
      expect(execute(plan, [x], []).roots).toEqual(interpret(plan, [x], []));
    }
  });

  test("maxima and minima of f32 are exact, and a NaN wins wherever it stands", () => {
    for (const op of ["max", "min"] as const) {
      const plan = reducePlan(op, "f32", shape, kept);
      const x = noise(size(shape));
      expect(execute(plan, [x], []).roots).toEqual(interpret(plan, [x], []));
      x[Math.floor(x.length / 2)] = NaN;
      x[x.length - 1] = NaN;
      expect(execute(plan, [x], []).roots).toEqual(interpret(plan, [x], []));
    }
  });

  test("any and all of bool", () => {
    const x = Uint8Array.from({ length: size(shape) }, (__, i) => Number((i * i) % 97 === 0));
    for (const values of [x, x.map((b) => 1 - b)]) {
      for (const op of ["max", "min"] as const) {
        const plan = reducePlan(op, "bool", shape, kept);
        expect(execute(plan, [values], []).roots).toEqual(interpret(plan, [values], []));
      }
    }
  });

  test("f64 sums and products keep their precision", () => {
    const x = Float64Array.from(noise(size(shape)), (v) => 1 + v / 1e6);
    for (const op of ["sum", "prod"] as const) {
      const plan = reducePlan(op, "f64", shape, kept);
      const [expected] = interpret(plan, [x], []);
      const { roots } = execute(plan, [x], []);
      expected.forEach((y, i) => expect(Math.abs(roots[0][i] / y - 1)).toBeLessThan(1e-11));
    }
  });
});

test("a product of f32 does not overflow on the way", () => {
  const x = Float32Array.from({ length: 64 }, (_, i) => (i % 32 < 16 ? 1e30 : 1e-30));
  for (const kept of [[0], [1]]) {
    const plan = reducePlan("prod", "f32", [8, 8], kept);
    const [expected] = interpret(plan, [x], []);
    execute(plan, [x], []).roots[0].forEach((y, i) => expect(Math.fround(y / expected[i] || 1)).toBeCloseTo(1, 5));
  }
});

test.each(["sum", "prod", "max", "min"] as const)("the %s of an empty row is the identity", (op) => {
  for (const dtype of ["f32", "f64", "i32", "u32"] as const) {
    for (const [shape, kept] of [
      [[5, 0], [0]],
      [[0, 5], [1]],
      [[0], []],
    ] as [Shape, number[]][]) {
      const plan = reducePlan(op, dtype, shape, kept);
      expect(execute(plan, [hostArrayFrom(dtype, [])], []).roots).toEqual(
        interpret(plan, [hostArrayFrom(dtype, [])], []),
      );
    }
  }
});

// ---- several stages ----

const f32 = (fn: "sub" | "exp" | "div" | "mul" | "add" | "rsqrt", ...args: number[]): Instruction => ({
  op: "map",
  dtype: "f32",
  fn,
  args,
});
const reduced = (stage: number): Instruction => ({ op: "reduced", dtype: "f32", stage });

/** Softmax of `x: shape` along an axis; the exponentials are written twice, as fusion leaves them. */
function softmaxPlan(shape: Shape, axis: number): Plan {
  const strides = stridesOf(shape);
  const kept = shape.map((_, i) => i).filter((i) => i !== axis);
  const view = { offset: 0, strides: [...kept.map((i) => strides[i]), strides[axis]] };
  const load: Instruction = { op: "load", dtype: "f32", buffer: 0, view };
  const shifted = [load, reduced(0), f32("sub", 0, 1), f32("exp", 2)];
  return planOf("f32", size(shape), size(shape), {
    outer: kept.map((i) => shape[i]),
    row: [shape[axis]],
    stages: [
      fold("max", "f32", [load]),
      fold("sum", "f32", shifted),
      {
        kind: "map",
        over: "row",
        body: [...shifted, reduced(1), f32("div", 3, 4)],
        stores: [{ buffer: 1, view, value: 5 }],
      },
    ],
  });
}

test.each([
  ["rows that the scratch keeps", [5, 1029], 1],
  ["rows of a few elements", [77, 5], 1],
  ["columns", [300, 37], 0],
  ["a row too long for the scratch", [2, 270000], 1],
  ["columns too long for the scratch", [40000, 3], 0],
  ["a middle axis", [3, 50, 18], 1],
] as [string, Shape, number][])("softmax of %s", (_, shape, axis) => {
  const plan = softmaxPlan(shape, axis);
  const x = noise(size(shape));
  const [expected] = interpret(plan, [x], []);
  const { roots } = execute(plan, [x], []);
  let worst = 0;
  expected.forEach((y, i) => (worst = Math.max(worst, Math.abs(roots[0][i] - y) / y || 0)));
  expect(worst).toBeLessThan(1e-6);
  expect(execute(plan, [x], [], { tilesPerCall: -1, garbage: 0x41 }).roots).toEqual(roots);
});

test("a softmax computes each exponential once", () => {
  const key = execute(softmaxPlan([4, 64], 1), [noise(256)], []).lowered[0].launches[0].key;
  expect(key.split('"fn":"exp"').length - 1).toBe(1);
});

test("a kernel may write over a leaf that it reads at the same index", () => {
  const plan = softmaxPlan([6, 100], 1);
  const inPlace: Plan = {
    ...plan,
    buffers: [plan.buffers[0], { ...plan.buffers[1], source: { kind: "root", index: 0, reuses: 0 } }],
  };
  const x = noise(600);
  expect(execute(inPlace, [x], []).roots).toEqual(execute(plan, [x], []).roots);
});

test("kernels of one structure share a module, whatever their extents, strides and numbers", () => {
  const keys = (plan: Plan): string[] =>
    execute(plan, [new Float32Array(plan.buffers[0].size) as TypedArray], []).lowered[0].launches.map((l) => l.key);
  expect(keys(softmaxPlan([4, 64], 1))).toEqual(keys(softmaxPlan([9, 1000], 1)));
  expect(keys(softmaxPlan([3, 50, 18], 1))).toEqual(keys(softmaxPlan([4, 20, 33], 1)));
  expect(keys(reducePlan("sum", "f32", [100003], []))).toEqual(keys(reducePlan("sum", "f32", [70000], [])));
  expect(keys(softmaxPlan([4, 64], 1))).not.toEqual(keys(softmaxPlan([64, 64], 0)));
});
