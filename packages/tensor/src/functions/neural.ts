import { checkFloat, iotaLike } from "../apply.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import { describe, normalizeAxis, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { add, div, exp, isFinite, mul, rsqrt, sub, where } from "./elementwise.ts";
import { gather } from "./indexing.ts";
import { type Key, random } from "./random.ts";
import { logSumExp, max, mean, sum } from "./reductions.ts";
import { reshape } from "./views.ts";

const keep = { keepDims: true } as const;

/** The largest element of each row, or 0 where there is no finite one, so that a shift by it never makes `-inf - -inf`. */
function shiftOf(x: Tensor, axis: number): Tensor {
  const top = max(x, axis, keep).stopGradient();
  return where(isFinite(top), top, 0);
}

/** `exp(x) / sum(exp(x))` along an axis. A row of -inf alone, everything masked, gives zeros. */
export function softmax<D extends DType>(x: Tensor<D>, axis = -1): Tensor<D> {
  checkFloat("softmax", x);
  const along = normalizeAxis("softmax", axis, x.ndim);
  const e = exp(sub(x, shiftOf(x, along)));
  const total = sum(e, along, keep);
  return div(e, where(total.eq(0), 1, total)) as Tensor<D>;
}

/** `x - logSumExp(x)` along an axis. */
export function logSoftmax<D extends DType>(x: Tensor<D>, axis = -1): Tensor<D> {
  checkFloat("logSoftmax", x);
  const along = normalizeAxis("logSoftmax", axis, x.ndim);
  return sub(x, logSumExp(x, along, keep)) as Tensor<D>;
}

export interface NormOptions {
  readonly axis?: number;
  /** Added to the variance, or to the mean square. */
  readonly eps?: number;
}

function affine(x: Tensor, weight: Tensor | undefined, bias: Tensor | undefined): Tensor {
  const scaled = weight ? mul(x, weight) : x;
  return bias ? add(scaled, bias) : scaled;
}

/** `(x - mean) / sqrt(variance + eps) * weight + bias` along an axis (Ba, Kiros and Hinton, 2016). */
export function layerNorm<D extends DType>(
  x: Tensor<D>,
  weight?: Tensor,
  bias?: Tensor,
  { axis = -1, eps = 1e-5 }: NormOptions = {},
): Tensor<D> {
  checkFloat("layerNorm", x);
  const centred = sub(x, mean(x, axis, keep));
  const spread = rsqrt(add(mean(mul(centred, centred), axis, keep), eps));
  return affine(mul(centred, spread), weight, bias) as Tensor<D>;
}

/** `x / sqrt(mean(x²) + eps) * weight` along an axis (Zhang and Sennrich, 2019). */
export function rmsNorm<D extends DType>(
  x: Tensor<D>,
  weight?: Tensor,
  { axis = -1, eps = 1e-5 }: NormOptions = {},
): Tensor<D> {
  checkFloat("rmsNorm", x);
  return affine(mul(x, rsqrt(add(mean(mul(x, x), axis, keep), eps))), weight, undefined) as Tensor<D>;
}

export interface CrossEntropyOptions {
  /** True where a position counts, shaped like the targets. The mean is over those. */
  readonly mask?: Tensor;
  readonly reduction?: "mean" | "sum" | "none";
}

/**
 * Negative log-likelihood in nats of targets under `softmax(logits)`.
 *
 * @param logits `[..., classes]`.
 * @param targets `i32[...]` class indices, or probabilities shaped like `logits`.
 * @returns a scalar, or `[...]` with reduction "none" (0 where masked).
 */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  { mask, reduction = "mean" }: CrossEntropyOptions = {},
): Tensor {
  checkFloat("crossEntropy", logits);
  const shape = logits.shape.slice(0, -1);
  const losses =
    sameShape(targets.shape, logits.shape) && targets.dtype !== "i32"
      ? soft(logits, targets)
      : hard(logits, targets, shape);
  if (mask && !sameShape(mask.shape, shape)) {
    throw new ShapeError(`crossEntropy: the mask must be [${shape}] like the targets (got ${describe(mask)})`);
  }
  const counted = mask ? where(mask.cast("bool"), losses, 0) : losses;
  if (reduction === "none") return counted;
  if (reduction === "sum") return sum(counted);
  return mask ? div(sum(counted), sum(mask.cast("bool").cast(logits.dtype)).maximum(1)) : mean(counted);
}

function hard(logits: Tensor, targets: Tensor, shape: readonly number[]): Tensor {
  if (!sameShape(targets.shape, shape)) {
    throw new ShapeError(
      `crossEntropy: targets must be i32[${shape}] for logits ${describe(logits)}, got ${describe(targets)}`,
    );
  }
  const classes = logits.shape[logits.ndim - 1];
  const rows = reshape(logits, [-1, classes]);
  const index = reshape(targets, [-1, 1]);
  const chosen = gather(rows, index, 1, { batch: 1 });
  return reshape(sub(logSumExp(rows, -1, keep), chosen), shape);
}

const soft = (logits: Tensor, targets: Tensor): Tensor =>
  sub(mul(logSumExp(logits, -1), sum(targets, -1)), sum(mul(targets, logits), -1));

/**
 * Zeroes each element with probability `rate` and scales the rest by `1 / (1 - rate)` (Srivastava et al., 2014). The rate is
 * data: changing it recompiles nothing.
 */
export function dropout<D extends DType>(key: Key, x: Tensor<D>, rate: number): Tensor<D> {
  checkFloat("dropout", x);
  if (!(rate >= 0 && rate < 1)) throw new ConfigError(`dropout: the rate must be in [0, 1), got ${rate}`);
  if (rate === 0) return x;
  const keepIt = random.uniform(key, x.shape).ge(rate);
  return where(keepIt, mul(x, 1 / (1 - rate)), 0) as Tensor<D>;
}

/** 1 at each index along a new last axis of `classes`, 0 elsewhere. An index out of range gives zeros. */
export function oneHot<D extends DType = "f32">(index: Tensor, classes: number, dtype?: D): Tensor<D> {
  const positions = iotaLike(index, [...index.shape, classes], index.ndim, "i32");
  return positions.eq(index.expandDims(-1)).cast(dtype ?? "f32") as Tensor<D>;
}
