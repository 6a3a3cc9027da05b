import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import {
  argMax,
  argMin,
  cummax,
  init,
  logSumExp,
  max,
  mean,
  min,
  norm,
  prod,
  std,
  sum as sumOf,
  tensor,
  variance,
  zeros,
  type ReduceOptions,
  type Tensor,
} from "@switchyard/tensor";
import { shape, tensorOf } from "@switchyard/tensor/testing";
import { at, build, expectClose, hostOf, indicesOf, mapRows, sum, type Host } from "../host.ts";

beforeAll(() => init("cpu"));

/** Collects the elements that fall on each kept index and applies `f` to them. */
function reduceRows(x: Host, axes: readonly number[], keepDims: boolean, f: (xs: number[]) => number): Host {
  const kept = [...x.shape.keys()].filter((axis) => !axes.includes(axis));
  const inner = indicesOf(axes.map((axis) => x.shape[axis]));
  const whole = (outer: readonly number[], index: readonly number[]): number[] =>
    x.shape.map((_, axis) => (axes.includes(axis) ? index[axes.indexOf(axis)] : outer[kept.indexOf(axis)]));
  const { data } = build(
    kept.map((axis) => x.shape[axis]),
    (outer) => f(inner.map((index) => at(x, whole(outer, index)))),
  );
  return { shape: x.shape.flatMap((n, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [n])), data };
}

const average = (xs: readonly number[]): number => sum(xs) / xs.length;
const spread = (xs: readonly number[], correction = 0): number =>
  sum(xs.map((x) => (x - average(xs)) ** 2)) / (xs.length - correction);

type Reduction = (x: Tensor, axis?: number | readonly number[], options?: ReduceOptions) => Tensor;
const ofNothing: [string, Reduction, (xs: number[]) => number][] = [
  ["sum", sumOf, sum],
  ["prod", prod, (xs) => xs.reduce((a, b) => a * b, 1)],
  ["mean", mean, average],
  ["variance", variance, spread],
  ["std", std, (xs) => Math.sqrt(spread(xs))],
  ["norm", norm, (xs) => Math.hypot(...xs)],
  ["logSumExp", logSumExp, (xs) => Math.log(sum(xs.map(Math.exp)))],
];
const ofSomething: [string, Reduction, (xs: number[]) => number][] = [
  ["max", max, (xs) => Math.max(...xs)],
  ["min", min, (xs) => Math.min(...xs)],
];

const cases = (minExtent: number) =>
  shape({ maxDims: 3, minExtent, maxExtent: 4 }).chain((extents) =>
    fc.tuple(
      tensorOf({ shape: fc.constant(extents), dtype: "f64", corners: true }),
      fc.subarray([...extents.keys()]),
      fc.boolean(),
    ),
  );

describe.each([...ofNothing.map((row) => [...row, 0] as const), ...ofSomething.map((row) => [...row, 1] as const)])(
  "%s",
  (_, reduction, f, minExtent) => {
    property.prop([cases(minExtent)], { numRuns: 60 })(
      "it is the dull loop over any axes",
      async ([x, axes, keepDims]) => {
        const host = await hostOf(x);
        await expectClose(reduction(x, axes, { keepDims }), reduceRows(host, axes, keepDims, f), 1e-12);
        const negative = axes.map((axis) => axis - x.ndim);
        await expectClose(reduction(x, negative), reduceRows(host, axes, false, f), 1e-12);
      },
    );

    property.prop([cases(1)], { numRuns: 10 })("without an axis it takes them all", async ([x]) => {
      const host = await hostOf(x);
      await expectClose(reduction(x), reduceRows(host, [...host.shape.keys()], false, f), 1e-12);
    });
  },
);

describe("corners", () => {
  test("NaN wins max, min and argMax", async () => {
    const x = tensor([1, NaN, 3, NaN]);
    expect(await Promise.all([x.max().item(), x.min().item(), x.argMax().item(), x.argMin().item()])).toEqual([
      NaN,
      NaN,
      1,
      1,
    ]);
  });

  test("variance takes a correction", async () => {
    expect(await tensor([1, 2, 3, 4]).variance(0, { correction: 1 }).item()).toBeCloseTo(5 / 3, 6);
  });

  test("a variance corrected by more than there are elements is not negative", async () => {
    expect(await tensor([1]).variance(0, { correction: 2 }).item()).toBe(NaN);
    expect(await tensor([1, 2]).variance(0, { correction: 3 }).item()).toBe(Infinity);
  });

  test("any and all are or and and, false and true of nothing", async () => {
    const x = tensor([
      [true, false],
      [true, true],
    ]);
    expect(await x.any(0).toArray()).toEqual([true, true]);
    expect(await x.all(0).toArray()).toEqual([true, false]);
    expect(await zeros([0]).any().toArray()).toBe(false);
    expect(await zeros([0]).all().toArray()).toBe(true);
  });

  test("logSumExp is stable at extremes and -inf of nothing", async () => {
    expect(await logSumExp(tensor([1e30, 1e30])).item()).toBe(Math.fround(1e30));
    expect(await logSumExp(tensor([-1e4, -1e4])).item()).toBeCloseTo(-1e4 + Math.log(2), 2);
    expect(await logSumExp(tensor([-Infinity, -Infinity])).item()).toBe(-Infinity);
    expect(await logSumExp(tensor([Infinity, 0])).item()).toBe(Infinity);
    expect(await logSumExp(zeros([2, 0]), 1).toArray()).toEqual([-Infinity, -Infinity]);
    expect(await logSumExp(tensor([NaN, 0])).item()).toBeNaN();
  });

  test("norm neither overflows nor vanishes, and passes infinity and NaN on", async () => {
    const lengths = [
      [3e30, 4e30],
      [3e-30, 4e-30],
      [0, 0],
      [Infinity, 1],
      [NaN, 1],
    ].map((row) => norm(tensor(row)).item());
    const [large, small, ...rest] = await Promise.all(lengths);
    expect(large / 5e30).toBeCloseTo(1, 6);
    expect(small / 5e-30).toBeCloseTo(1, 6);
    expect(rest).toEqual([0, Infinity, NaN]);
  });

  test("sums of integers wrap", async () => {
    expect(await tensor(Int32Array.of(0x7fffffff, 1)).sum().item()).toBe(-0x80000000);
    expect(await tensor(Uint32Array.of(0xffffffff, 2)).sum().item()).toBe(1);
  });
});

const rowCases = shape({ minDims: 1, maxDims: 3, minExtent: 1, maxExtent: 4 }).chain((extents) =>
  fc.tuple(
    tensorOf({ shape: fc.constant(extents), dtype: "f64", min: -2, max: 2, corners: true }),
    fc.nat({ max: extents.length - 1 }),
    fc.boolean(),
    fc.boolean(),
  ),
);

describe("along one axis", () => {
  test("argMax and argMin without an axis give the place in the whole tensor, row by row", async () => {
    const x = tensor([
      [1, 5, 3],
      [4, 5, -6],
    ]);
    expect([await argMax(x).toArray(), await argMin(x).toArray()]).toEqual([1, 5]);
    expect(await argMin(x, undefined, { keepDims: true }).toArray()).toEqual([[5]]);
    expect(await argMax(tensor(7)).toArray()).toBe(0);
  });

  property.prop([rowCases])("argMax and argMin take the lowest index among ties", async ([x, axis, keepDims]) => {
    const host = await hostOf(x);
    const drop = ({ shape: extents, data }: Host): Host => ({
      shape: keepDims ? extents : extents.toSpliced(axis, 1),
      data,
    });
    const first = (row: number[], best: number): number[] => [row.findIndex((value) => value === best)];
    const largest = mapRows(host, axis, (row) => first(row, Math.max(...row)));
    const least = mapRows(host, axis, (row) => first(row, Math.min(...row)));
    await expectClose(argMax(x, axis, { keepDims }), drop(largest));
    await expectClose(argMin(x, axis - x.ndim, { keepDims }), drop(least));
  });

  property.prop([rowCases])(
    "scans run forwards or back, with or without the element",
    async ([x, axis, reverse, exclusive]) => {
      const host = await hostOf(x);
      const scan = (identity: number, f: (a: number, b: number) => number): Host =>
        mapRows(host, axis, (row) =>
          row.map((_, i) => {
            const part = reverse ? row.slice(exclusive ? i + 1 : i) : row.slice(0, exclusive ? i : i + 1);
            return part.reduce(f, identity);
          }),
        );
      const options = { reverse, exclusive };
      await expectClose(
        x.cumsum(axis, options),
        scan(0, (a, b) => a + b),
        1e-13,
      );
      await expectClose(
        x.cumprod(axis, options),
        scan(1, (a, b) => a * b),
        1e-13,
      );
      await expectClose(
        cummax(x, axis, options),
        scan(-Infinity, (a, b) => Math.max(a, b)),
      );
    },
  );
});
