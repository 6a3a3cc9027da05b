import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import {
  arange,
  concat,
  eye,
  flip,
  init,
  linspace,
  ones,
  pad,
  repeat,
  slice,
  split,
  stack,
  tensor,
  tile,
  zeros,
  type SliceRange,
} from "@switchyard/tensor";
import { broadcastableShapes, permutationOf, shape, tensorOf } from "@switchyard/tensor/testing";
import { at, atBroadcast, build, expectClose, hostOf } from "../host.ts";

beforeAll(() => init("cpu"));

const anyTensor = tensorOf({ shape: shape({ maxDims: 3, maxExtent: 4 }), dtype: "f64" });
const position = fc.option(fc.integer({ min: -6, max: 6 }), { nil: null });
const range = fc.oneof(
  fc.constant<SliceRange>([]),
  fc.tuple(position, position, fc.constantFrom(null, 1, 2, 3, -1, -2)),
);

/** The positions a range takes, as the Python reference describes them: start, then steps until stop is reached or passed. */
function positionsOf(requested: SliceRange, extent: number): number[] {
  if (typeof requested === "number") return [requested < 0 ? requested + extent : requested];
  const step = requested[2] ?? 1;
  const fromEnd = (p: number): number => (p < 0 ? p + extent : p);
  const all = step > 0 ? [...Array(extent).keys()] : [...Array(extent).keys()].toReversed();
  const reached = all.filter((p) => {
    const [start, stop] = [requested[0], requested[1]];
    const afterStart = start == null || (step > 0 ? p >= fromEnd(start) : p <= fromEnd(start));
    const beforeStop = stop == null || (step > 0 ? p < fromEnd(stop) : p > fromEnd(stop));
    return afterStart && beforeStop;
  });
  return reached.filter((_, i) => i % Math.abs(step) === 0);
}

describe("views", () => {
  property.prop([anyTensor, fc.array(range, { maxLength: 3 })])(
    "slice takes the positions NumPy would",
    async (x, ranges) => {
      const used = ranges.slice(0, x.ndim);
      const host = await hostOf(x);
      const positions = x.shape.map((extent, axis) => positionsOf(used[axis] ?? [], extent));
      const expected = build(
        positions.map((p) => p.length),
        (index) =>
          at(
            host,
            index.map((i, axis) => positions[axis][i]),
          ),
      );
      await expectClose(slice(x, ...used), expected);
    },
  );

  test("a single position drops its axis, from the end if negative", async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await x.slice(-1).toArray()).toEqual([4, 5, 6]);
    expect(await x.slice([], 1).toArray()).toEqual([2, 5]);
    expect(await x.slice(0, -1).item()).toBe(3);
  });

  property.prop([anyTensor, fc.nat()])("permute puts axis axes[i] at i", async (x, seed) => {
    const [axes] = fc.sample(permutationOf(x.ndim), { numRuns: 1, seed });
    const host = await hostOf(x);
    const shuffled = axes.map((axis) => x.shape[axis]);
    await expectClose(
      x.permute(axes),
      build(shuffled, (index) =>
        at(
          host,
          axes.map((_, axis) => index[axes.indexOf(axis)]),
        ),
      ),
    );
    if (x.ndim >= 2) await expectClose(x.transpose().transpose(), host);
  });

  property.prop([anyTensor])("reshape keeps the order, and -1 is worked out", async (x) => {
    const host = await hostOf(x);
    await expectClose(x.reshape([x.size]), { shape: [x.size], data: host.data });
    if (x.size > 0) await expectClose(x.reshape([1, -1]), { shape: [1, x.size], data: host.data });
    await expectClose(x.expandDims([0, -1]).squeeze([0, -1]), host);
  });

  property.prop([broadcastableShapes({ maxDims: 3 })])(
    "broadcastTo repeats axes of extent 1",
    async ({ shapes: [a], result }) => {
      const x = ones(a, { dtype: "f64" }).mul(2);
      const host = await hostOf(x);
      await expectClose(
        x.broadcastTo(result),
        build(result, (index) => atBroadcast(host, index)),
      );
    },
  );

  property.prop([
    anyTensor,
    fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 2 })), { minLength: 3, maxLength: 3 }),
    fc.constantFrom(0, 7),
  ])("pad surrounds with a value", async (x, all, value) => {
    const widths = all.slice(0, x.ndim);
    const host = await hostOf(x);
    const padded = x.shape.map((n, axis) => widths[axis][0] + n + widths[axis][1]);
    const expected = build(padded, (index) => {
      const inner = index.map((i, axis) => i - widths[axis][0]);
      return inner.every((i, axis) => i >= 0 && i < x.shape[axis]) ? at(host, inner) : value;
    });
    await expectClose(pad(x, widths, value), expected);
  });

  property.prop([anyTensor])("flip reverses every axis, and twice is nothing", async (x) => {
    const host = await hostOf(x);
    await expectClose(
      flip(x),
      build(x.shape, (index) =>
        at(
          host,
          index.map((i, axis) => x.shape[axis] - 1 - i),
        ),
      ),
    );
    await expectClose(flip(flip(x)), host);
  });

  property.prop([anyTensor, fc.array(fc.nat({ max: 3 }), { maxLength: 4 })])(
    "tile repeats the whole",
    async (x, repeats) => {
      const host = await hostOf(x);
      const ndim = Math.max(x.ndim, repeats.length);
      const lead = ndim - x.ndim;
      const extents = [...Array<number>(lead).fill(1), ...x.shape];
      const times = [...Array<number>(ndim - repeats.length).fill(1), ...repeats];
      const wanted = extents.map((n, axis) => n * times[axis]);
      const expected = build(wanted, (index) =>
        at(
          host,
          index.slice(lead).map((i, axis) => i % x.shape[axis]),
        ),
      );
      await expectClose(tile(x, repeats), expected);
    },
  );

  property.prop([tensorOf({ shape: shape({ minDims: 1, maxDims: 3 }) }), fc.nat(), fc.integer({ min: 0, max: 3 })])(
    "repeat repeats each element along an axis, and split undoes concat",
    async (x, seed, times) => {
      const axis = seed % x.ndim;
      const host = await hostOf(x);
      const wide = x.shape.with(axis, x.shape[axis] * times);
      await expectClose(
        repeat(x, times, axis),
        build(wide, (index) => at(host, index.with(axis, Math.floor(index[axis] / times)))),
      );
      const extent = x.shape[axis];
      const [first, empty, last] = split(concat([x, x], axis), [extent, 0, extent], axis);
      await expectClose(first, host);
      await expectClose(last, host);
      expect(empty.size).toBe(0);
      await expectClose(stack([x, x], axis).slice(...x.shape.slice(0, axis).map((): SliceRange => []), 1), host);
    },
  );
});

describe("makers", () => {
  test("arange, linspace and eye", async () => {
    expect(await arange(4).toArray()).toEqual([0, 1, 2, 3]);
    expect(await arange(5, 1, -2).toArray()).toEqual([5, 3]);
    expect(await arange(0, 1, 0.25).toArray()).toEqual([0, 0.25, 0.5, 0.75]);
    expect(await linspace(0, 1, 5).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(await linspace(3, 9, 1).toArray()).toEqual([3]);
    expect(await eye(2, { dtype: "i32" }).toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });

  test("nested booleans are bool in type and in fact", async () => {
    const mask = tensor([[true], [false]]);
    const dtype: "bool" = mask.dtype;
    expect(dtype).toBe("bool");
    const none: "f32" = tensor([]).dtype;
    expect(none).toBe("f32");
    expect(await zeros([2, 0]).toArray()).toEqual([[], []]);
  });
});
