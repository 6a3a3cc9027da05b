import type { DType, Shape, TypedArray } from "@switchyard/tensor";

/** A tensor's elements on the host. */
export interface Elements {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

/** The first element that differs, and how many do. */
export interface Difference {
  readonly index: readonly number[];
  readonly expected: number;
  readonly got: number;
  readonly count: number;
}

/** Where two arrays of one shape differ by the lights of `same`; undefined if nowhere. */
export function difference(
  got: Elements,
  expected: Elements,
  same: (got: number, expected: number) => boolean,
): Difference | undefined {
  let first = -1;
  let count = 0;
  for (let i = 0; i < got.data.length; i++) {
    if (same(got.data[i], expected.data[i])) continue;
    if (count++ === 0) first = i;
  }
  if (first < 0) return undefined;
  return { index: indexAt(first, got.shape), expected: expected.data[first], got: got.data[first], count };
}

/** Equal numbers; NaN equals NaN, and -0 equals 0. */
export const identical = (a: number, b: number): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));

/** The coordinates of a row-major position. */
export function indexAt(position: number, shape: Shape): number[] {
  const index: number[] = [];
  for (const extent of shape.toReversed()) {
    index.unshift(position % extent);
    position = Math.floor(position / extent);
  }
  return index;
}

/** `2 of 6 elements differ, first at [0,1]: expected 3, got 4`. */
export const describeDifference = ({ index, expected, got, count }: Difference, size: number): string =>
  `${count} of ${size} elements differ, first at [${index}]: expected ${expected}, got ${got}`;
