import { apply, checkFloat, fullLike } from "../apply.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { scoreRange } from "../primitives/assign.ts";
import { describe, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isFinite, where } from "./elementwise.ts";

export interface AssignOptions {
  /** `bool[…, T]`: which rows take part; all by default. The others get E, the column after the last. */
  readonly mask?: Tensor;
}

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
 * @throws {ShapeError | DTypeError} unless there are two axes, a column if there are rows, and a mask, if any, for the rows.
 */
export function assign(scores: Tensor, { mask }: AssignOptions = {}): Tensor<"i32"> {
  checkFloat("assign", scores);
  if (scores.ndim < 2) throw new ShapeError(`assign: takes [rows, columns] (got ${describe(scores)})`);
  const rows = scores.shape.slice(0, -1);
  const batch = rows.slice(0, -1);
  if (mask && mask.dtype !== "bool") throw new DTypeError(`assign: mask must be bool (got ${describe(mask)})`);
  if (mask && !sameShape(mask.shape, rows))
    throw new ShapeError(`assign: mask must be [${rows}], one for each row (got ${describe(mask)})`);
  const whole = quantized(scores, mask);
  if (!mask) {
    const count = fullLike(scores, rows[rows.length - 1], batch, "i32");
    return apply("assign", [whole, count], {}) as Tensor<"i32">;
  }
  const real = mask.cast("i32");
  const order = real.argsort(-1, { descending: true }); // the rows that take part come first
  const sorted = whole.gather(order, batch.length, { batch: batch.length });
  const assigned = apply("assign", [sorted, real.sum(-1)], {}) as Tensor<"i32">;
  return assigned.takeAlongAxis(order.argsort(), -1);
}

/** Scores as integers of `0..scoreRange`, the least and the greatest of the rows that take part at its ends. */
function quantized(scores: Tensor, mask: Tensor | undefined): Tensor {
  if (scores.size === 0) return scores.cast("i32");
  const half = scores.stopGradient().mul(0.5); // so that the range does not overflow
  const finite = isFinite(half);
  const known = mask ? finite.and(mask.expandDims(-1)) : finite;
  const options = { keepDims: true };
  const high = where(known, half, -Infinity).max([-2, -1], options);
  const low = where(known, half, Infinity).min([-2, -1], options);
  const range = high.sub(low);
  const share = where(finite, half.sub(low).div(where(range.gt(0), range, 1)), half.gt(0).cast(half.dtype));
  return share.clip(0, 1).mul(scoreRange).round().cast("i32");
}
