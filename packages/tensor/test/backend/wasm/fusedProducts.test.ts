import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { detectFeatures } from "../../../src/backend/wasm/features.ts";
import { lower } from "../../../src/backend/wasm/lower.ts";
import type { Instruction, Plan, RoutineKernel, Store, View } from "../../../src/schedule/plan.ts";
import { sizeOf, stridesOf } from "../../../src/shape.ts";
import { interpret } from "../../schedule/interpreter.ts";
import { contiguous, startRunner } from "./planHarness.ts";

const runner = startRunner(2);
afterAll(() => runner.stop());
const runs = process.env.SWITCHYARD_DEEP ? 1000 : 80;
const dtype = "f32" as const;

/** Multiples of 1/4 between -2 and 2, so that sums and products of a few are exact. */
const quarters = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => (((i * 7919 + seed * 104_729) % 17) - 8) / 4);

interface Case {
  readonly shape: readonly [b: number, m: number, n: number];
  readonly k: number;
  /** The steps after the result and the loads. */
  readonly maps: readonly Instruction[];
  /** For each load: does it move along the batch, the rows, the columns? */
  readonly loads: readonly (readonly boolean[])[];
  readonly stores: readonly number[];
  /** Whether the first store goes over the first load's donated leaf. */
  readonly reuse: boolean;
}

/** lhs, rhs, loads, a number, then the roots. */
function planOf({ shape, k, maps, loads, stores, reuse }: Case): Plan {
  const [b, m, n] = shape;
  const whole = stridesOf(shape);
  const sizes = [b * m * k, b * k * n, ...loads.map(() => sizeOf(shape))];
  const leaves = sizes.map((size, index) => ({ dtype, size, source: { kind: "leaf", index } as const }));
  const full = loads[0].every(Boolean);
  const roots = stores.map((_, index) => ({
    dtype,
    size: sizeOf(shape),
    source: { kind: "root", index, ...(reuse && full && index === 0 ? { reuses: 2 } : {}) } as const,
  }));
  const body: Instruction[] = [
    { op: "result", dtype },
    { op: "number", dtype, slot: 0 },
    { op: "constant", dtype, value: -0.5 },
    ...loads.map((moves, i): Instruction => {
      const view: View = { offset: 0, strides: whole.map((stride, axis) => (moves[axis] ? stride : 0)) };
      return { op: "load", dtype, buffer: 2 + i, view };
    }),
    ...maps,
  ];
  const view = { offset: 0, strides: whole };
  const outputs: Store[] = stores.map((value, i) => ({ buffer: leaves.length + i, view, value }));
  const kernel: RoutineKernel = {
    kind: "routine",
    name: "matmul",
    op: "matmul",
    attrs: {},
    operands: [contiguous(0, { shape: [b, m, k], dtype }), contiguous(1, { shape: [b, k, n], dtype })],
    shape,
    dtype,
    epilogue: { body, stores: outputs },
  };
  return { buffers: [...leaves, ...roots], kernels: [kernel], numbers: [dtype] };
}

const leavesOf = (plan: Plan): Float32Array[] =>
  plan.buffers.filter((b) => b.source.kind === "leaf").map((b, i) => quarters(b.size, i));

const floatMaps = ["add", "sub", "mul", "maximum"] as const;

/** Maps over values 0 to `before - 1`: floats, and comparisons right before the `where` that uses them. */
const mapsAfter = (before: number): fc.Arbitrary<Instruction[]> =>
  fc
    .array(fc.tuple(fc.constantFrom(...floatMaps, "where" as const), fc.nat(), fc.nat(), fc.nat()), { maxLength: 4 })
    .map((picks) => {
      const maps: Instruction[] = [];
      const floats = Array.from({ length: before }, (_, i) => i);
      for (const [fn, ...at] of picks) {
        const [a, b, c] = at.map((x) => floats[x % floats.length]);
        const next = before + maps.length;
        if (fn === "where") {
          maps.push({ op: "map", fn: "lt", dtype: "bool", args: [a, b] }, { op: "map", fn, dtype, args: [next, b, c] });
        } else maps.push({ op: "map", fn, dtype, args: [a, b] });
        floats.push(before + maps.length - 1);
      }
      return maps;
    });

const someCase: fc.Arbitrary<Case> = fc
  .record({
    shape: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 14 }), fc.integer({ min: 1, max: 23 })),
    k: fc.integer({ min: 0, max: 5 }),
    loads: fc.array(fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 3 }),
    reuse: fc.boolean(),
  })
  .chain((c) =>
    mapsAfter(3 + c.loads.length).chain((maps) => {
      const last = 3 + c.loads.length + maps.length - 1;
      const floats = [
        0,
        ...maps.flatMap((m, i) => (m.dtype === dtype ? [3 + c.loads.length + i] : [])),
        Math.min(last, 3),
      ];
      return fc.record({
        ...(Object.fromEntries(Object.entries(c).map(([key, x]) => [key, fc.constant(x)])) as {
          [K in keyof typeof c]: fc.Arbitrary<(typeof c)[K]>;
        }),
        maps: fc.constant(maps),
        stores: fc.array(fc.constantFrom(...floats), { minLength: 1, maxLength: 2 }),
      });
    }),
  );

test("a product's epilogue computes what the plan says, in place or not, over a donated leaf or not", () =>
  fc.assert(
    fc.asyncProperty(someCase, async (one) => {
      const plan = planOf(one);
      const leaves = leavesOf(plan);
      expect(await runner.run(plan, leaves, [0.25])).toEqual(interpret(plan, leaves, [0.25]));
    }),
    { numRuns: runs },
  ));

const everywhere = [true, true, true];
const update: Case = {
  shape: [1, 50, 40],
  k: 8,
  loads: [everywhere],
  maps: [
    { op: "map", fn: "mul", dtype, args: [0, 1] },
    { op: "map", fn: "sub", dtype, args: [3, 4] },
  ],
  stores: [5],
  reuse: true,
};

test("an update written over the weights it reads sums elsewhere first, in one pass with the product", async () => {
  const plan = planOf(update);
  const leaves = leavesOf(plan);
  expect(await runner.run(plan, leaves, [0.25])).toEqual(interpret(plan, leaves, [0.25]));
  const { launches } = lower(plan.kernels[0], plan, detectFeatures());
  expect(launches.every(({ key }) => key.startsWith("matmul"))).toBe(true);
});

test("modules do not depend on shapes, strides of rows or which buffers", () => {
  const keys = (
    [
      [1, 50, 40],
      [1, 30, 20],
    ] as const
  ).map((shape) => {
    const plan = planOf({ ...update, shape });
    return lower(plan.kernels[0], plan, detectFeatures()).launches.map((l) => l.key);
  });
  expect(keys[0]).toEqual(keys[1]);
});

test("an epilogue may call functions that no vector instruction has", async () => {
  const maps: Instruction[] = [{ op: "map", fn: "sin", dtype, args: [0] }];
  const plan = planOf({ ...update, maps, stores: [4], reuse: false });
  const leaves = leavesOf(plan);
  const [got] = await runner.run(plan, leaves, [0]);
  const [wanted] = interpret(plan, leaves, [0]);
  got.forEach((x, i) => expect(Math.abs(x - wanted[i])).toBeLessThan(1e-6));
});
