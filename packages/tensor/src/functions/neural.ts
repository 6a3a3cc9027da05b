import { checkFloat } from "../apply.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { checkOptions, oneOf } from "../options.ts";
import { describe, normalizeAxes, normalizeAxis, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isFloat, type DType } from "../types.ts";
import { exp, where } from "./elementwise.ts";
import { indexTensor, takeAlongAxis, type Index } from "./indexing.ts";
import { constantPeak, logSumExp, type Axis } from "./reductions.ts";

/** `exp(x)` shifted to be finite, and its sum along the axis, which is 1 in place of the 0 that a row of -inf gives. */
function shiftedExp<D extends DType>(op: string, x: Tensor<D>, axis: number) {
  checkFloat(op, x);
  const along = normalizeAxis(op, axis, x.ndim);
  const shifted = x.sub(constantPeak(x, [along]));
  const powers = exp(shifted);
  const sum = powers.sum(along, { keepDims: true });
  return { shifted, powers, total: where(sum.eq(0), 1, sum) };
}

/** `exp(x) / sum(exp(x))` along an axis, stable at extremes. A row of -inf, where all is masked, gives zeros. */
export function softmax<D extends DType>(x: Tensor<D>, axis = -1): Tensor<D> {
  const { powers, total } = shiftedExp("softmax", x, axis);
  return powers.div(total);
}

/** `log(softmax(x))` without the loss of small probabilities. A row of -inf stays -inf. */
export function logSoftmax<D extends DType>(x: Tensor<D>, axis = -1): Tensor<D> {
  const { shifted, total } = shiftedExp("logSoftmax", x, axis);
  return shifted.sub(total.log());
}

export interface NormalizationOptions {
  /** The axes to normalise over, by default the last. */
  readonly axis?: Axis;
  /** Added to the variance or mean square, by default 1e-5. */
  readonly eps?: number;
}

/**
 * `(x - mean) / sqrt(variance + eps) * weight + bias` over the axes.
 * @param weight, bias the shape of `x` along the axes.
 */
export function layerNorm<D extends DType>(
  x: Tensor<D>,
  weight?: Tensor | null,
  bias?: Tensor | null,
  { axis = -1, eps = 1e-5 }: NormalizationOptions = {},
): Tensor<D> {
  checkFloat("layerNorm", x);
  const axes = normalizeAxes("layerNorm", axis, x.ndim);
  const unit = overRoot(x.sub(x.mean(axes, { keepDims: true })), axes, eps);
  return affine("layerNorm", unit, axes, weight, bias);
}

/**
 * `x / sqrt(mean(x²) + eps) * weight + bias` over the axes.
 * @param weight, bias the shape of `x` along the axes.
 */
export function rmsNorm<D extends DType>(
  x: Tensor<D>,
  weight?: Tensor | null,
  bias?: Tensor | null,
  { axis = -1, eps = 1e-5 }: NormalizationOptions = {},
): Tensor<D> {
  checkFloat("rmsNorm", x);
  const axes = normalizeAxes("rmsNorm", axis, x.ndim);
  return affine("rmsNorm", overRoot(x, axes, eps), axes, weight, bias);
}

/** Rows within this are left as they are; what lies beyond, scaled down to it, has squares that can be added up in f32. */
const mostUnscaled = 2 ** 32;

/**
 * `x / sqrt(mean(x²) + eps)`. Rows with large elements are scaled down first, so that no square overflows: by a factor, because a
 * division per element would take longer than all else.
 */
function overRoot<D extends DType>(x: Tensor<D>, axes: readonly number[], eps: number): Tensor<D> {
  const factor = constantPeak(x.abs(), axes).div(mostUnscaled).maximum(1).reciprocal();
  const scaled = x.mul(factor);
  const meanSquare = scaled.square().mean(axes, { keepDims: true });
  return scaled.mul(meanSquare.add(factor.square().mul(eps)).rsqrt());
}

function affine<D extends DType>(
  op: string,
  x: Tensor<D>,
  axes: readonly number[],
  weight?: Tensor | null,
  bias?: Tensor | null,
): Tensor<D> {
  const wanted = axes.map((a) => x.shape[a]);
  const along = (name: string, t: Tensor): Tensor => {
    if (!sameShape(t.shape, wanted))
      throw new ShapeError(`${op}: ${name} must be [${wanted}], the axes normalised over (got ${describe(t)})`);
    return t.reshape(x.shape.map((n, i) => (axes.includes(i) ? n : 1)));
  };
  const scaled = weight ? x.mul(along("weight", weight)) : x;
  return bias ? scaled.add(along("bias", bias)) : scaled;
}

export interface CrossEntropyOptions {
  /** `bool[...]`: true where an example counts. */
  readonly mask?: Tensor;
  /** `mean` over the examples that count (0 if none does), their `sum`, or `none`: one loss each. */
  readonly reduction?: "mean" | "sum" | "none";
}

/**
 * `-log softmax(logits)` at the targets.
 *
 * @param logits `[..., classes]`.
 * @param targets class indices, `i32[...]`, of which one out of range reads a logit of 0, as in `gather` (leave examples out by `mask`), or probabilities, `[..., classes]` in the dtype of the logits.
 * @returns a scalar, or `[...]` with reduction `none`.
 * @throws {ShapeError} if the targets or the mask do not fit the logits.
 */
export function crossEntropy<D extends DType>(
  logits: Tensor<D>,
  targets: Index,
  { mask, reduction = "mean" }: CrossEntropyOptions = {},
): Tensor<D> {
  checkFloat("crossEntropy", logits);
  checkOptions("crossEntropy", { reduction }, { reduction: oneOf("mean", "sum", "none") });
  if (logits.ndim === 0) throw new ShapeError(`crossEntropy: logits need an axis of classes (got ${describe(logits)})`);
  const examples = logits.shape.slice(0, -1);
  if (mask && !(mask.dtype === "bool" && sameShape(mask.shape, examples)))
    throw new ShapeError(`crossEntropy: mask must be bool[${examples}], one per example (got ${describe(mask)})`);
  const target = indexTensor("crossEntropy", logits, targets);
  // Whatever stands where nothing counts, NaN too, must not reach the gradient as 0 · NaN.
  const real = mask ? (where(mask.expandDims(-1), logits, 0) as Tensor<D>) : logits;
  const losses = isFloat(target.dtype) ? againstProbabilities(real, target) : againstClasses(real, target, mask);
  const counted = mask ? (where(mask, losses, 0) as Tensor<D>) : losses;
  if (reduction === "none") return counted;
  if (reduction === "sum") return counted.sum();
  return mask ? counted.sum().div(mask.cast(logits.dtype).sum().maximum(1)) : counted.mean();
}

function againstClasses<D extends DType>(logits: Tensor<D>, classes: Tensor, mask?: Tensor): Tensor<D> {
  const wanted = logits.shape.slice(0, -1);
  if (classes.dtype !== "i32")
    throw new DTypeError(
      `crossEntropy: targets are i32 classes or probabilities in the logits' dtype (got ${describe(classes)})`,
    );
  if (!sameShape(classes.shape, wanted))
    throw new ShapeError(
      `crossEntropy: classes must be i32[${wanted}] for logits ${describe(logits)} (got ${describe(classes)})`,
    );
  const real = mask ? where(mask, classes, 0) : classes; // -100 and the like, where nothing counts, are no mistake to tell of
  return logSumExp(logits, -1).sub(takeAlongAxis(logits, real.expandDims(-1)).squeeze(-1));
}

function againstProbabilities<D extends DType>(logits: Tensor<D>, p: Tensor): Tensor<D> {
  if (!sameShape(p.shape, logits.shape))
    throw new ShapeError(
      `crossEntropy: probabilities must have the shape of the logits (got ${describe(p)}, logits ${describe(logits)})`,
    );
  const logProbabilities = logSoftmax(logits);
  const impossible = p.eq(0).and(logProbabilities.isFinite().not()); // 0 · log 0 = 0
  return where(impossible, 0, logProbabilities).mul(p).sum(-1).neg() as Tensor<D>;
}
