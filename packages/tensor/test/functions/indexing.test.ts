import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import {
  argsort,
  gather,
  init,
  random,
  scatter,
  scatterAdd,
  sort,
  take,
  takeAlongAxis,
  tensor,
  topK,
  zeros,
} from "@switchyard/tensor";
import { indices, shape, tensorOf } from "@switchyard/tensor/testing";
import { at, build, expectClose, hostOf, mapRows } from "../host.ts";

beforeAll(() => init("cpu"));

/** A tensor, an axis of it, and indices of any shape into that axis, some out of range. */
const gathers = shape({ minDims: 1, maxDims: 3, maxExtent: 4 }).chain((extents) =>
  fc
    .nat({ max: extents.length - 1 })
    .chain((axis) =>
      fc.tuple(
        tensorOf({ shape: fc.constant(extents), dtype: "f64" }),
        fc.constant(axis),
        indices({ shape: shape({ maxDims: 2, maxExtent: 3 }), size: extents[axis], outOfRange: true }),
      ),
    ),
);

describe("gather and scatter", () => {
  property.prop([gathers])(
    "gather replaces the axis by the index's axes, and reads 0 out of range",
    async ([x, axis, index]) => {
      const [hx, hi] = await Promise.all([hostOf(x), hostOf(index)]);
      const wanted = [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)];
      const expected = build(wanted, (position) => {
        const row = at(hi, position.slice(axis, axis + index.ndim));
        const inside = row >= 0 && row < x.shape[axis];
        return inside ? at(hx, [...position.slice(0, axis), row, ...position.slice(axis + index.ndim)]) : 0;
      });
      await expectClose(gather(x, index, axis), expected);
      await expectClose(take(x, index, axis - x.ndim), expected);
    },
  );

  property.prop([gathers])("scatter is the transpose of gather", async ([x, axis, index]) => {
    const gathered = gather(x, index, axis);
    const y = random.normal(random.key(1), gathered.shape, { dtype: "f64" });
    const left = gathered.mul(y).sum();
    const right = scatter(y, index, x.shape, { axis }).mul(x).sum();
    expect(await left.item()).toBeCloseTo(await right.item(), 10);
  });

  test("batch axes are indexed by their own part", async () => {
    const x = tensor([
      [10, 11, 12],
      [20, 21, 22],
    ]);
    const index = tensor(
      [
        [2, 0],
        [1, 9],
      ],
      { dtype: "i32" },
    );
    expect(await gather(x, index, 1, { batch: 1 }).toArray()).toEqual([
      [12, 10],
      [21, 0],
    ]);
  });

  test("scatterAdd adds up duplicates and keeps the rest", async () => {
    const x = tensor([100, 200, 300]);
    expect(await scatterAdd(x, [2, 0, 2, 7], tensor([1, 2, 3, 4])).toArray()).toEqual([102, 200, 304]);
  });

  test("set keeps the last, max the largest, and max of none is the least value", async () => {
    const updates = tensor([5, 1, 3]);
    expect(await scatter(updates, [0, 1, 0], [3], { op: "set" }).toArray()).toEqual([3, 1, 0]);
    expect(await scatter(updates, [0, 1, 0], [3], { op: "max" }).toArray()).toEqual([5, 1, -Infinity]);
  });

  test("take without an axis counts through the whole tensor", async () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(await take(x, tensor([[3, 0]], { dtype: "i32" })).toArray()).toEqual([[4, 1]]);
    expect(await take(x, [2]).toArray()).toEqual([3]);
  });
});

const rows = shape({ minDims: 1, maxDims: 3, maxExtent: 5 }).chain((extents) =>
  fc.tuple(
    tensorOf({
      shape: fc.constant(extents),
      dtype: "f64",
      min: -1,
      max: 1,
      corners: true,
      noNaN: false,
      noInfinity: false,
    }),
    fc.nat({ max: extents.length - 1 }),
    fc.boolean(),
  ),
);

/** Insertion sort of positions: NaN last, ties as they come. */
function insertionOrder(row: readonly number[], descending: boolean): number[] {
  const before = (a: number, b: number): boolean =>
    Number.isNaN(a) ? false : Number.isNaN(b) ? true : descending ? a > b : a < b;
  const order: number[] = [];
  row.forEach((x, i) => {
    const place = order.findIndex((j) => before(x, row[j]));
    order.splice(place < 0 ? order.length : place, 0, i);
  });
  return order;
}

describe("order", () => {
  property.prop([rows])("argsort is stable with NaN last, and sort gathers by it", async ([x, axis, descending]) => {
    const host = await hostOf(x);
    await expectClose(
      argsort(x, axis, { descending }),
      mapRows(host, axis, (row) => insertionOrder(row, descending)),
    );
    const sorted = mapRows(host, axis, (row) => insertionOrder(row, descending).map((i) => row[i]));
    await expectClose(sort(x, axis - x.ndim, { descending }), sorted);
  });

  property.prop([rows, fc.nat()])("topK is the head of a descending sort", async ([x, axis], seed) => {
    const k = seed % (x.shape[axis] + 1);
    const host = await hostOf(x);
    const { values, indices: positions } = topK(x, k, axis);
    const head = (row: readonly number[]): number[] => insertionOrder(row, true).slice(0, k);
    const narrowed = x.shape.with(axis, k);
    const expected = mapRows(host, axis, head);
    await expectClose(positions, { ...expected, shape: narrowed });
    await expectClose(values, { ...mapRows(host, axis, (row) => head(row).map((i) => row[i])), shape: narrowed });
  });

  property.prop([rows])("takeAlongAxis undoes argsort", async ([x, axis]) => {
    const order = argsort(x, axis);
    const back = takeAlongAxis(takeAlongAxis(x, order, axis), argsort(order, axis), axis);
    await expectClose(back, await hostOf(x));
  });
});

test("a bool tensor reads as booleans", async () => {
  expect(await tensor([[true], [false]]).toArray()).toEqual([[true], [false]]);
  expect(await zeros([2, 0]).toArray()).toEqual([[], []]);
});
