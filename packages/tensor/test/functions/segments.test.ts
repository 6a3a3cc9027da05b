import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import { bincount, init, oneHot, searchSorted, segmentMax, segmentSum, tensor, tril, triu } from "@switchyard/tensor";
import { indices, shape, tensorOf } from "@switchyard/tensor/testing";
import { at, build, expectClose, hostOf, sum } from "../host.ts";

beforeAll(() => init("cpu"));

const labelled = fc
  .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 4 }), shape({ maxDims: 2, maxExtent: 3 }))
  .chain(([n, count, rest]) =>
    fc.tuple(
      tensorOf({ shape: fc.constant([n, ...rest]), dtype: "f64" }),
      indices({ shape: [n], size: count, outOfRange: true }),
      fc.constant(count),
    ),
  );

describe("segments", () => {
  property.prop([labelled])(
    "segmentSum and segmentMax combine the rows of each segment",
    async ([x, segments, count]) => {
      const [hx, hs] = await Promise.all([hostOf(x), hostOf(segments)]);
      const members = (position: readonly number[]): number[] =>
        hs.data.flatMap((s, row) => (s === position[0] ? [at(hx, [row, ...position.slice(1)])] : []));
      const wanted = [count, ...x.shape.slice(1)];
      await expectClose(
        segmentSum(x, segments, count),
        build(wanted, (i) => sum(members(i))),
        1e-14,
      );
      await expectClose(
        segmentMax(x, segments, count),
        build(wanted, (i) => Math.max(...members(i))),
      );
    },
  );

  property.prop([labelled])("ascending segments may promise so", async ([x, segments, count]) => {
    const ascending = segments.sort();
    const plain = await hostOf(x.segmentSum(ascending, count));
    await expectClose(x.segmentSum(ascending, count, { sorted: true }), plain, 1e-14);
  });

  property.prop([indices({ shape: shape({ maxDims: 2 }), size: 4, outOfRange: true })])(
    "bincount counts each value in range",
    async (x) => {
      const host = await hostOf(x);
      await expectClose(
        bincount(x, 4),
        build([4], ([value]) => host.data.filter((y) => y === value).length),
      );
    },
  );

  property.prop([indices({ shape: shape({ maxDims: 2 }), size: 3, outOfRange: true })])(
    "oneHot has a 1 at the index and nothing out of range",
    async (x) => {
      const host = await hostOf(x);
      const expected = build([...x.shape, 3], (index) => Number(at(host, index.slice(0, -1)) === index.at(-1)));
      await expectClose(oneHot(x, 3), expected);
      expect(x.oneHot(3, { dtype: "bool" }).dtype).toBe("bool");
    },
  );

  test("oneHot and bincount take plain numbers too", async () => {
    expect(await oneHot([1, 0, 7], 2).toArray()).toEqual([
      [0, 1],
      [1, 0],
      [0, 0],
    ]);
    expect(await bincount([2, 0, 2], 3).toArray()).toEqual([1, 0, 2]);
  });
});

describe("searchSorted", () => {
  const values = { dtype: "f64", min: -1, max: 1, corners: true, noNaN: false, noInfinity: false } as const;

  property.prop([
    tensorOf({ shape: [fc.integer({ min: 0, max: 9 })], ...values }),
    tensorOf({ shape: shape({ maxDims: 2 }), ...values }),
  ])("it counts what comes before each value, NaN last", async (x, wanted) => {
    const ordered = x.sort();
    const [hx, hv] = await Promise.all([hostOf(ordered), hostOf(wanted)]);
    const less = (a: number, b: number): boolean => a < b || (Number.isNaN(b) && !Number.isNaN(a));
    const left = build(wanted.shape, (i) => hx.data.filter((a) => less(a, at(hv, i))).length);
    const right = build(wanted.shape, (i) => hx.data.filter((a) => !less(at(hv, i), a)).length);
    await expectClose(searchSorted(ordered, wanted), left);
    await expectClose(ordered.searchSorted(wanted, { side: "right" }), right);
  });

  test("it searches integers", async () => {
    const offsets = tensor(Int32Array.of(0, 2, 2, 5));
    const rows = tensor(Int32Array.of(0, 1, 2, 4, 5));
    expect(await searchSorted(offsets, rows, { side: "right" }).toArray()).toEqual([1, 1, 3, 3, 4]);
  });
});

describe("triangles", () => {
  property.prop([
    tensorOf({ shape: shape({ minDims: 2, maxDims: 3 }), dtype: "f64" }),
    fc.integer({ min: -4, max: 4 }),
  ])("tril keeps what is on or below a diagonal, triu what is on or above", async (x, diagonal) => {
    const host = await hostOf(x);
    const kept = (keep: (offset: number) => boolean) =>
      build(x.shape, (index) => (keep(index.at(-1)! - index.at(-2)!) ? at(host, index) : 0));
    await expectClose(
      tril(x, diagonal),
      kept((offset) => offset <= diagonal),
    );
    await expectClose(
      triu(x, diagonal),
      kept((offset) => offset >= diagonal),
    );
  });

  test("triangles of bool are masks", async () => {
    const all = tensor([
      [true, true],
      [true, true],
    ]);
    expect(await all.tril().toArray()).toEqual([
      [true, false],
      [true, true],
    ]);
  });
});
