import fc from "fast-check";
import { expect, test } from "vitest";
import type { Instruction, LoopKernel, Plan, View } from "../../../../src/schedule/plan.ts";
import type { TypedArray } from "../../../../src/types.ts";
import { interpret } from "../../../schedule/interpreter.ts";
import { execute } from "./harness.ts";
import { randomCase } from "./randomKernel.ts";

const numRuns = process.env.SWITCHYARD_DEEP ? 20000 : 400;

/** Equal, or floats a rounding apart: a product may be rounded in another order. */
const agree = (a: number, b: number): boolean => Object.is(a, b) || Math.abs(a - b) <= 1e-6 * Math.abs(b);

test("a generated kernel computes what the plan says, in any split of its tiles to the same bits, and touches nothing else", () => {
  fc.assert(
    fc.property(randomCase, ({ plan, leaves, numbers }) => {
      const expected = interpret(plan, leaves, numbers);
      const { roots } = execute(plan, leaves, numbers);
      expected.forEach((array, root) => {
        const wrong = array.findIndex((x, i) => !agree(roots[root][i], x));
        if (wrong >= 0) throw new Error(`root ${root} at ${wrong}: ${roots[root][wrong]}, not ${array[wrong]}`);
      });
      const again = execute(plan, leaves, numbers, { tilesPerCall: -1, garbage: 0x41 });
      expect(again.roots).toEqual(roots);
    }),
    { numRuns },
  );
});

/** A plan of one kernel that copies, or sums along a row, what one instruction over `[...outer, ...row]` reads. */
function readPlan(outer: number[], row: number[], size: number, read: readonly Instruction[]): Plan {
  const points = outer.reduce((a, b) => a * b, 1);
  const view: View = { offset: 0, strides: outer.map((_, i) => outer.slice(i + 1).reduce((a, b) => a * b, 1)) };
  const value = read.length - 1;
  const stages: LoopKernel["stages"] =
    row.length === 0
      ? [{ kind: "map", over: "outer", body: read, stores: [{ buffer: 2, view, value }] }]
      : [
          { kind: "reduce", op: "sum", dtype: "f32", body: read, value },
          {
            kind: "map",
            over: "outer",
            body: [{ op: "reduced", dtype: "f32", stage: 0 }],
            stores: [{ buffer: 2, view, value: 0 }],
          },
        ];
  return {
    buffers: [
      { dtype: "f32", size, source: { kind: "leaf", index: 0 } },
      { dtype: "i32", size: 9, source: { kind: "leaf", index: 1 } },
      { dtype: "f32", size: points, source: { kind: "root", index: 0 } },
    ],
    numbers: [],
    kernels: [{ kind: "loop", name: "read", outer, row, stages }],
  };
}

const spaces: [outer: number[], row: number[]][] = [
  [[4, 9], []],
  [[9, 4], []],
  [[4], [9]],
  [[9], [4]],
  [
    [3, 4],
    [5, 9],
  ],
];
/** Elements apart that no memory has room for. */
const FAR = 2 ** 27;

test.each(spaces)("padding reads nothing where there is no element, over %j and %j", (outer, row) => {
  const space = [...outer, ...row];
  const x = Float32Array.from({ length: 9 }, (_, i) => i + 1);
  space.forEach((extent, axis) => {
    for (let near = 0; near < space.length; near++) {
      if (near === axis) continue;
      const strides = space.map((_, i) => (i === axis ? FAR : i === near ? 1 : 0));
      const bounds = space.map((n, i) => (i === axis ? ([extent - 1, extent] as const) : ([0, n] as const)));
      const view = { offset: -FAR * (extent - 1), strides, bounds };
      const plan = readPlan(outer, row, 9, [{ op: "load", dtype: "f32", buffer: 0, view }]);
      const leaves: TypedArray[] = [x, new Int32Array(9)];
      expect(execute(plan, leaves, []).roots).toEqual(interpret(plan, leaves, []));
    }
  });
});

test.each(spaces)("an index out of range reads nothing, over %j and %j", (outer, row) => {
  const space = [...outer, ...row];
  const index = Int32Array.of(0, -1, FAR, 2, -FAR, 3, 1, 2 ** 31 - 1, -(2 ** 31));
  const x = Float32Array.from({ length: 27 }, (_, i) => i + 1);
  for (let axis = 0; axis < space.length; axis++) {
    for (let near = 0; near < space.length; near++) {
      const along = (of: number): View => ({ offset: 0, strides: space.map((_, i) => (i === of ? 1 : 0)) });
      const plan = readPlan(outer, row, 27, [
        { op: "load", dtype: "i32", buffer: 1, view: along(axis) },
        { op: "gather", dtype: "f32", buffer: 0, view: along(near), index: 0, stride: 9, extent: 3 },
      ]);
      expect(execute(plan, [x, index], []).roots).toEqual(interpret(plan, [x, index], []));
    }
  }
});
