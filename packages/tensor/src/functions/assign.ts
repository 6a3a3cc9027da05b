import { apply, checkFloat } from "../apply.ts";
import { scoreRange } from "../primitives/assign.ts";
import type { Tensor } from "../tensor.ts";
import { isFinite, where } from "./elementwise.ts";

/**
 * Balanced assignment: a column for each row, so that all columns get as many rows as any other (of T rows and E columns the first `T mod E`
 * one more than the rest) and the scores add up to about the most there is. By an auction, on the device; nothing is read back. The mean
 * score is within 1/256 of the range of the scores from the best; where that would take more than 128 bids a row, further off. Scores are told
 * apart to 2^-18 of their range; of scores that are not finite +∞ counts as the greatest, the others as the least. No gradient.
 *
 * Source: Bertsekas 1988, "The Auction Algorithm"; for mixtures of experts Lewis et al. 2021, "BASE Layers".
 *
 * @param scores `[…, T, E]`, floats.
 * @returns `i32[…, T]`.
 * @throws {ShapeError} unless there are two axes, and a column if there are rows.
 */
export function assign(scores: Tensor): Tensor<"i32"> {
  checkFloat("assign", scores);
  if (scores.ndim < 2 || scores.size === 0) return apply("assign", [scores.cast("i32")], {}) as Tensor<"i32">;
  const half = scores.stopGradient().mul(0.5); // so that the range does not overflow
  const finite = isFinite(half);
  const options = { keepDims: true };
  const high = where(finite, half, -Infinity).max([-2, -1], options);
  const low = where(finite, half, Infinity).min([-2, -1], options);
  const range = high.sub(low);
  const share = where(finite, half.sub(low).div(where(range.gt(0), range, 1)), half.gt(0).cast(half.dtype));
  return apply("assign", [share.mul(scoreRange).round().cast("i32")], {}) as Tensor<"i32">;
}
