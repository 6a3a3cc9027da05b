import * as fc from "fast-check";
import { broadcastShapes } from "../shape.ts";
import type { Shape } from "../types.ts";

export interface ShapeConstraints {
  readonly minDims?: number;
  readonly maxDims?: number;
  /** 0 by default: empty tensors are worth testing. */
  readonly minExtent?: number;
  readonly maxExtent?: number;
}

/** Shapes of up to 4 axes of extents 0 to 5. Shrinks to fewer and shorter axes. */
export const shape = ({ minDims = 0, maxDims = 4, minExtent = 0, maxExtent = 5 }: ShapeConstraints = {}): fc.Arbitrary<
  number[]
> => fc.array(fc.integer({ min: minExtent, max: maxExtent }), { minLength: minDims, maxLength: maxDims });

/** Two shapes that broadcast, and what they broadcast to. */
export const broadcastableShapes = (
  constraints: ShapeConstraints = {},
): fc.Arbitrary<{ readonly shapes: readonly [Shape, Shape]; readonly result: Shape }> =>
  shape(constraints).chain((full) =>
    fc.tuple(narrowed(full), narrowed(full)).map((shapes) => ({ shapes, result: broadcastShapes("test", ...shapes) })),
  );

/** A shape with some leading axes left out and some others narrowed to 1. */
const narrowed = (full: Shape): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.integer({ min: 0, max: full.length }), fc.array(fc.boolean(), fixedLength(full.length)))
    .map(([dropped, narrow]) => full.map((n, axis) => (narrow[axis] ? 1 : n)).slice(dropped));

/** Orders of `0..n - 1`. Shrinks towards the identity. */
export const permutationOf = (n: number): fc.Arbitrary<number[]> => fc.array(fc.nat(), fixedLength(n)).map(orderOf);

/** The positions of ranks in ascending order. */
export const orderOf = (ranks: readonly number[]): number[] =>
  [...ranks.keys()].toSorted((i, j) => ranks[i] - ranks[j] || i - j);

/** Exactly `n` elements, for `fc.array`. */
export const fixedLength = (n: number): { minLength: number; maxLength: number } => ({ minLength: n, maxLength: n });
