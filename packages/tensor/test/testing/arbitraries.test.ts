import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import { ConfigError, init, tensor, zeros, type Tensor } from "@switchyard/tensor";
import {
  awayFromKinks,
  broadcastableShapes,
  indices,
  permutationOf,
  shape,
  stridedView,
  tensorOf,
  wellConditioned,
} from "@switchyard/tensor/testing";
import { expectClose, hostOf } from "../host.ts";

beforeAll(() => init("cpu"));

/** What a failing property is reduced to, and how it is printed. */
async function shrunk<T>(arbitrary: fc.Arbitrary<T>, holds: (x: T) => Promise<boolean> | boolean): Promise<T> {
  const { counterexample } = await fc.check(
    fc.asyncProperty(arbitrary, async (x) => holds(x)),
    { seed: 1, numRuns: 1000 },
  );
  return counterexample![0];
}

/** Runs printed code. */
const evaluate = (code: string): Tensor =>
  // oxlint-disable-next-line typescript/no-implied-eval -- that printed code runs is what is tested
  (new Function("tensor", "zeros", `return ${code}`) as (...args: unknown[]) => Tensor)(tensor, zeros);

describe("shapes", () => {
  property.prop([broadcastableShapes()])("two shapes and what they broadcast to", ({ shapes: [a, b], result }) => {
    expect(zeros(a).add(zeros(b)).shape).toEqual(result);
  });

  property.prop([fc.integer({ min: 0, max: 6 }).chain(permutationOf)])(
    "permutationOf holds each integer once",
    (order) => {
      expect(order.toSorted((a, b) => a - b)).toEqual([...order.keys()]);
    },
  );

  test("shape shrinks to the shortest", async () => {
    expect(await shrunk(shape(), (extents) => extents.length < 2)).toEqual([0, 0]);
  });

  test("permutationOf shrinks towards the identity", async () => {
    expect(await shrunk(permutationOf(4), ([first]) => first === 0)).toEqual([1, 2, 3, 0]);
  });
});

describe("tensorOf", () => {
  property.prop([tensorOf({ shape: [fc.integer({ min: 0, max: 3 }), 2] })])(
    "it has the shape, f32, and finite elements off 0 by default",
    async (x) => {
      expect([x.ndim, x.shape[1], x.dtype]).toEqual([2, 2, "f32"]);
      for (const value of await x.data()) {
        expect(Math.abs(value)).toBeLessThanOrEqual(4);
        expect(Math.abs(value)).toBeGreaterThan(1e-3);
      }
    },
  );

  property.prop([fc.double({ noNaN: true, min: -1e6, max: 1e6 }), fc.double({ noNaN: true, min: 1e-3, max: 1e6 })])(
    "elements respect any bounds",
    async (min, width) => {
      const [x] = fc.sample(tensorOf({ shape: [20], dtype: "f64", min, max: min + width }), 1);
      const data = await x.data();
      expect(Math.min(...data)).toBeGreaterThanOrEqual(min);
      expect(Math.max(...data)).toBeLessThanOrEqual(min + width);
    },
  );

  test.each([
    ["NaN", { noNaN: false }, Number.isNaN],
    ["infinity", { noInfinity: false }, (x: number) => x === Infinity],
    ["zero", { corners: true }, (x: number) => Object.is(x, 0)],
    ["minus zero", { corners: true }, (x: number) => Object.is(x, -0)],
    ["the bound", { corners: true }, (x: number) => x === 4],
  ] as const)("%s comes when it is asked for", async (_, constraints, found) => {
    const samples = fc.sample(tensorOf({ shape: [8], ...constraints }), { numRuns: 100, seed: 1 });
    const data = await Promise.all(samples.map((x) => x.data()));
    expect(data.some((row) => row.some(found))).toBe(true);
    const plain = fc.sample(tensorOf({ shape: [8] }), { numRuns: 100, seed: 1 });
    const without = await Promise.all(plain.map((x) => x.data()));
    expect(without.some((row) => row.some(found))).toBe(false);
  });

  property.prop([
    fc
      .constantFrom("f32" as const, "f64" as const, "i32" as const, "u32" as const, "bool" as const)
      .chain((dtype) =>
        tensorOf({ shape: shape({ maxDims: 3 }), dtype, noNaN: false, noInfinity: false, corners: dtype === "f32" }),
      ),
  ])("what it prints is code that makes the tensor again", async (x) => {
    const again = evaluate(fc.stringify(x));
    expect(again.dtype).toBe(x.dtype);
    await expectClose(again, await hostOf(x));
  });

  test("a failure shrinks to the fewest and simplest elements, and prints as code", async () => {
    const worst = await shrunk(tensorOf({ shape: [fc.integer({ min: 0, max: 9 })] }), (x) => x.size < 3);
    expect(fc.stringify(worst)).toBe('tensor([0.25, 0.25, 0.25], { dtype: "f32" })');
  });
});

describe("shrinking keeps the elements that the failure lies in", () => {
  const repeats = async (x: Tensor) => new Set(await x.data()).size === x.size;

  test("of a vector, wherever they are", async () => {
    const worst = await shrunk(tensorOf({ shape: [fc.integer({ min: 0, max: 12 })], dtype: "i32" }), repeats);
    expect(fc.stringify(worst)).toBe('tensor([0, 0], { dtype: "i32" })');
  });

  test("of a matrix, by rows and columns", async () => {
    const extent = fc.integer({ min: 1, max: 5 });
    const worst = await shrunk(tensorOf({ shape: [extent, extent] }), async (x) =>
      [...(await x.data())].every((value) => value < 3),
    );
    expect(worst.size).toBe(1);
  });

  test("of shapes of any rank", async () => {
    const worst = await shrunk(tensorOf({ shape: shape(), dtype: "i32" }), repeats);
    expect(worst.size).toBe(2);
  });

  test("of views", async () => {
    const extent = fc.integer({ min: 0, max: 4 });
    const worst = await shrunk(stridedView({ shape: [extent, extent], dtype: "i32" }), repeats);
    expect(worst.size).toBe(2);
  });
});

describe("tensors with a purpose", () => {
  property.prop([wellConditioned({ shape: [4, 5], dtype: "f64" })])(
    "wellConditioned keeps magnitudes in [1/2, 2] and elements apart",
    async (x) => {
      const data = [...(await x.data())];
      expect(data.every((value) => Math.abs(value) >= 0.5 && Math.abs(value) <= 2)).toBe(true);
      const sorted = data.toSorted((a, b) => a - b);
      sorted.slice(1).forEach((value, i) => expect(value - sorted[i]).toBeGreaterThan(0.07));
    },
  );

  property.prop([awayFromKinks(tensorOf({ shape: [30], corners: true }), [0, 1])])(
    "awayFromKinks keeps its distance and nothing else changes",
    async (x) => {
      for (const value of await x.data()) {
        expect(Math.abs(value)).toBeGreaterThanOrEqual(1 / 64);
        expect(Math.abs(value - 1)).toBeGreaterThanOrEqual(1 / 64);
        expect(Math.abs(value)).toBeLessThanOrEqual(4);
      }
    },
  );

  property.prop([awayFromKinks(stridedView({ shape: [3, 3], corners: true }), [0])])(
    "awayFromKinks takes views, which stay views and print as code",
    async (x) => {
      for (const value of await x.data()) expect(Math.abs(value)).toBeGreaterThanOrEqual(1 / 64);
      await expectClose(evaluate(fc.stringify(x)), await hostOf(x));
    },
  );

  test("awayFromKinks refuses tensors whose elements it cannot see", () => {
    expect(() => fc.sample(awayFromKinks(fc.constant(zeros([2])), [0]), 1)).toThrow(ConfigError);
  });

  property.prop([indices({ shape: [3, 4], size: 5 })])("indices are in range", async (x) => {
    expect([...(await x.data())].every((i) => i >= 0 && i < 5)).toBe(true);
    expect(x.dtype).toBe("i32");
  });

  property.prop([
    shape({ maxDims: 3, maxExtent: 3 }).chain((extents) =>
      stridedView({ shape: fc.constant(extents) }).map((x) => ({ x, extents })),
    ),
  ])("stridedView has the shape asked for, and prints as code", async ({ x, extents }) => {
    expect(x.shape).toEqual(extents);
    await expectClose(evaluate(fc.stringify(x)), await hostOf(x));
  });
});
