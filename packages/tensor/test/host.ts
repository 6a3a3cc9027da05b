import { expect } from "vitest";
import type { Tensor } from "@switchyard/tensor";

/** A tensor as oracles see it: numbers in row-major order. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

export const hostOf = async (x: Tensor): Promise<Host> => ({ shape: x.shape, data: [...(await x.data())] });

/** Every index of a shape, in row-major order. */
export function indicesOf(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, extent) => all.flatMap((index) => Array.from({ length: extent }, (_, i) => [...index, i])),
    [[]],
  );
}

export const build = (shape: readonly number[], f: (index: number[]) => number): Host => ({
  shape,
  data: indicesOf(shape).map(f),
});

/** The element at an index. */
export function at({ shape, data }: Host, index: readonly number[]): number {
  let position = 0;
  shape.forEach((extent, axis) => (position = position * extent + index[axis]));
  return data[position];
}

/** The element that broadcasting finds at an index of the wider shape. */
export const atBroadcast = (x: Host, index: readonly number[]): number =>
  at(
    x,
    x.shape.map((extent, axis) => (extent === 1 ? 0 : index[index.length - x.shape.length + axis])),
  );

/** Applies `f` to each row along an axis, given and returning arrays. */
export function mapRows(x: Host, axis: number, f: (row: number[]) => readonly number[]): Host {
  const rest = x.shape.toSpliced(axis, 1);
  const rows = new Map(
    indicesOf(rest).map((index) => [
      String(index),
      f(Array.from({ length: x.shape[axis] }, (_, i) => at(x, index.toSpliced(axis, 0, i)))),
    ]),
  );
  const length = rows.values().next().value?.length ?? x.shape[axis];
  return build(x.shape.with(axis, length), (index) => rows.get(String(index.toSpliced(axis, 1)))![index[axis]]);
}

export const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);

/** Fails unless shape and elements agree, the elements within `tolerance` relative and absolute; NaN equals NaN. */
export async function expectClose(actual: Tensor, expected: Host, tolerance = 0): Promise<void> {
  expect(actual.shape).toEqual(expected.shape);
  const data = await actual.data();
  expect(data.length).toBe(expected.data.length);
  expected.data.forEach((wanted, i) => {
    const near = Object.is(wanted, data[i]) || wanted === data[i];
    if (!near && !(Math.abs(data[i] - wanted) <= tolerance * (1 + Math.abs(wanted))))
      expect.fail(`element ${i} is ${data[i]}, not ${wanted} (${actual.shape.join(",")})`);
  });
}
