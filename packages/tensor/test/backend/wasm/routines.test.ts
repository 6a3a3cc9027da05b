import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Attrs } from "../../../src/primitives/index.ts";
import type { HostArray } from "../../../src/primitives/primitive.ts";
import type { RoutineOp } from "../../../src/schedule/plan.ts";
import { sizeOf } from "../../../src/shape.ts";
import type { DType } from "../../../src/types.ts";
import { definitionOf, host, routinePlan, startRunner } from "./planHarness.ts";

const runs = process.env.SWITCHYARD_DEEP ? 2000 : 60;
const here = startRunner(0);
const threaded = [1, 2, 4].map(startRunner);
afterAll(() => Promise.all(threaded.map((runner) => runner.stop())));

async function compute<P extends RoutineOp>(op: P, attrs: Attrs[P], inputs: readonly HostArray[], runner = here) {
  const [out] = await runner.run(
    routinePlan(op, attrs, inputs),
    inputs.map((x) => x.data),
  );
  return out;
}

async function expectDefinition<P extends RoutineOp>(op: P, attrs: Attrs[P], inputs: readonly HostArray[]) {
  expect(await compute(op, attrs, inputs)).toEqual(definitionOf(op, attrs, inputs).data);
}

const numeric = fc.constantFrom<DType>("f32", "f64", "i32", "u32");
const length = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 10, max: 100 }));

/** Values with many ties, extremes of every dtype, and for floats what is not a number. */
function element(dtype: DType): fc.Arbitrary<number> {
  const small = fc.integer({ min: dtype === "u32" ? 0 : -3, max: 3 });
  if (dtype === "bool") return fc.integer({ min: 0, max: 1 });
  if (dtype === "i32") return fc.oneof(small, fc.constantFrom(-0x80000000, 0x7fffffff), fc.integer());
  if (dtype === "u32") return fc.oneof(small, fc.constantFrom(0xffffffff), fc.nat({ max: 0xffffffff }));
  return fc.oneof(
    small,
    fc.constantFrom(NaN, Infinity, -Infinity, -0, 1e-40),
    fc.float({ noNaN: true, min: -8, max: 8 }),
  );
}

const tensor = (dtype: DType, shape: readonly number[]): fc.Arbitrary<HostArray> => {
  const size = sizeOf(shape);
  return fc.array(element(dtype), { minLength: size, maxLength: size }).map((values) => host(dtype, shape, values));
};

const matrix = (least = 0) =>
  fc
    .tuple(numeric, fc.integer({ min: 0, max: 4 }), length)
    .chain(([dtype, rows, n]) => tensor(dtype, [rows, Math.max(least, n)]));

const shuffled = (n: number, seed = 1): number[] => {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return Array.from({ length: n }, () => Math.floor(next() * 1e6) - 5e5);
};

test("scan agrees with its definition to the last bit", () =>
  fc.assert(
    fc.asyncProperty(
      matrix(),
      fc.record({
        op: fc.constantFrom<"sum" | "prod" | "max">("sum", "prod", "max"),
        reverse: fc.boolean(),
        exclusive: fc.boolean(),
      }),
      (x, attrs) => expectDefinition("scan", attrs, [x]),
    ),
    { numRuns: runs },
  ));

test("argReduce takes the first extreme element, NaN before all", () =>
  fc.assert(
    fc.asyncProperty(matrix(1), fc.constantFrom<"max" | "min">("max", "min"), (x, op) =>
      expectDefinition("argReduce", { op }, [x]),
    ),
    { numRuns: runs },
  ));

test("argsort is stable, with NaN last in both directions", () =>
  fc.assert(
    fc.asyncProperty(matrix(), fc.boolean(), (x, descending) => expectDefinition("argsort", { descending }, [x])),
    { numRuns: runs },
  ));

test.each(["f32", "f64", "i32", "u32"] as const)(
  "argsort sorts long rows of %s, in scratch and beside it",
  async (dtype) => {
    for (const n of [5000, 70_000]) {
      const values = shuffled(2 * n).map((x) => (dtype === "u32" ? Math.abs(x) : x));
      await expectDefinition("argsort", { descending: false }, [host(dtype, [2, n], values)]);
    }
  },
);

test("topK is the head of a descending argsort, ties to the lower index", () =>
  fc.assert(
    fc.asyncProperty(
      matrix().chain((x) => fc.tuple(fc.constant(x), fc.integer({ min: 0, max: x.shape[1] }))),
      ([x, k]) => expectDefinition("topK", { k }, [x]),
    ),
    { numRuns: runs },
  ));

test("randomBits gives the words of Threefry, whole vectors and the rest", () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat({ max: 0xffffffff }), { minLength: 3, maxLength: 3 }),
      fc.nat({ max: 70 }),
      (words, n) =>
        expectDefinition("randomBits", { shape: [n] }, [host("u32", [2], words), host("u32", [], words.slice(2))]),
    ),
    { numRuns: runs },
  ));

test("randomBits continues across tiles", () =>
  expectDefinition("randomBits", { shape: [20_001] }, [host("u32", [2], [7, 0xffffffff]), host("u32", [], [3])]));

interface ScatterCase {
  attrs: Attrs["scatter"];
  updates: HostArray;
  index: HostArray;
}

/** An index with duplicates and strays unless it promises otherwise. */
const scatterCase: fc.Arbitrary<ScatterCase> = fc
  .record({
    dtype: fc.constantFrom<DType>("f32", "f64", "i32", "u32", "bool"),
    op: fc.constantFrom<"add" | "max" | "set">("add", "max", "set"),
    promise: fc.constantFrom("none", "unique", "sorted"),
    batch: fc.integer({ min: 0, max: 3 }),
    batched: fc.boolean(),
    before: fc.integer({ min: 0, max: 2 }),
    n: fc.integer({ min: 0, max: 6 }),
    count: fc.integer({ min: 0, max: 9 }),
    after: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom(16, 21)),
  })
  .chain((c) => {
    const lead = c.batched ? [c.batch] : [];
    const shape = [...lead, c.before, c.n, c.after];
    const indexShape = [...lead, c.count];
    const rows = c.batched ? c.batch : 1;
    const range = { min: -2, max: c.n + 1 };
    const row = fc
      .array(fc.integer(range), { minLength: c.count, maxLength: c.count })
      .map((index) =>
        c.promise === "sorted"
          ? index.toSorted((a, b) => a - b)
          : c.promise === "unique"
            ? distinct(index, c.n)
            : index,
      );
    const attrs = {
      op: c.dtype === "bool" ? ("set" as const) : c.op,
      shape,
      axis: lead.length + 1,
      batch: lead.length,
      unique: c.promise === "unique",
      sorted: c.promise === "sorted",
    };
    return fc
      .tuple(
        fc.array(row, { minLength: rows, maxLength: rows }),
        tensor(c.dtype, [...lead, c.before, c.count, c.after]),
      )
      .map(([index, updates]) => ({ attrs, updates, index: host("i32", indexShape, index.flat()) }));
  });

/** Every index that occurs again goes out of range. */
const distinct = (index: readonly number[], n: number): number[] =>
  index.map((at, i) => (index.indexOf(at) < i ? n + 5 : at));

/** f32 sums round at every step here and once in the definition. */
function expectClose(got: ArrayLike<number>, wanted: ArrayLike<number>): void {
  expect(got.length).toBe(wanted.length);
  for (let i = 0; i < wanted.length; i++) {
    if (Object.is(got[i], wanted[i])) continue;
    expect(Math.abs(got[i] - wanted[i]), `element ${i}: ${got[i]}, not ${wanted[i]}`).toBeLessThan(1e-5);
  }
}

test("scatter combines in the order of the updates and starts at the identity", () =>
  fc.assert(
    fc.asyncProperty(scatterCase, async ({ attrs, updates, index }) => {
      const wanted = definitionOf("scatter", attrs, [updates, index]).data;
      const got = await compute("scatter", attrs, [updates, index]);
      if (attrs.op === "add" && updates.dtype === "f32") expectClose(got, wanted);
      else expect(got).toEqual(wanted);
    }),
    { numRuns: 3 * runs },
  ));

test("scatter keeps many tiles of rows and columns apart", async () => {
  for (const [n, count, after] of [
    [1000, 3000, 40],
    [2, 500, 3000],
    [40_000, 50_000, 1],
  ]) {
    const index = host(
      "i32",
      [count],
      shuffled(count).map((x) => Math.abs(x) % n),
    );
    const updates = host("i32", [count, after], shuffled(count * after, 5));
    for (const op of ["add", "max", "set"] as const) {
      const attrs = { op, shape: [n, after], axis: 0, batch: 0, unique: false, sorted: false };
      await expectDefinition("scatter", attrs, [updates, index]);
    }
  }
});

describe("any number of threads gives the bits of one", () => {
  const floats = (shape: readonly number[], seed: number): HostArray =>
    host(
      "f32",
      shape,
      shuffled(sizeOf(shape), seed).map((x) => x / 1e5),
    );
  const experts = host(
    "i32",
    [20_000],
    shuffled(20_000).map((x) => Math.abs(x) % 8),
  );
  const cases = {
    scan: () => ["scan", { op: "sum", reverse: false, exclusive: false }, [floats([300, 1000], 1)]],
    argReduce: () => ["argReduce", { op: "max" }, [floats([1000, 300], 2)]],
    argsort: () => ["argsort", { descending: true }, [floats([40, 5000], 3)]],
    topK: () => ["topK", { k: 4 }, [floats([4000, 64], 4)]],
    assign: () => [
      "assign",
      {},
      [
        host(
          "i32",
          [3, 400, 8],
          shuffled(9600).map((x) => Math.abs(x) % 2 ** 18),
        ),
        host("i32", [3], [400, 0, 333]),
      ],
    ],
    scatter: () => [
      "scatter",
      { op: "add", shape: [8, 24], axis: 0, batch: 0, unique: false, sorted: false },
      [floats([20_000, 24], 5), experts],
    ],
    randomBits: () => ["randomBits", { shape: [300_001] }, [host("u32", [2], [1, 2]), host("u32", [], [3])]],
    matmul: () => ["matmul", {}, [floats([2, 150, 170], 6), floats([2, 170, 190], 7)]],
    groupedMatmul: () => [
      "groupedMatmul",
      { mode: "rows" },
      [floats([500, 64], 8), floats([4, 64, 96], 9), host("i32", [5], [0, 100, 100, 333, 480])],
    ],
  } satisfies { [P in RoutineOp]: () => [P, Attrs[P], HostArray[]] };

  test.each(Object.entries(cases))("%s", async (_, make) => {
    const [op, attrs, inputs] = make() as [RoutineOp, never, HostArray[]];
    const wanted = await compute(op, attrs, inputs);
    for (const runner of threaded) expect(await compute(op, attrs, inputs, runner)).toEqual(wanted);
  });
});
