import { apply, checkFloat, fullLike } from "../apply.ts";
import { ShapeError } from "../errors.ts";
import type { ReduceOp } from "../primitives/reduce.ts";
import { describe, normalizeAxes, normalizeAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { abs, add, div, exp, isFinite, log, mul, sqrt, sub, where } from "./elementwise.ts";
import { permute, reshape, squeeze, transpose } from "./views.ts";

/** Which axes to reduce; all of them by default. */
export type Axis = number | readonly number[] | undefined;

export interface ReduceOptions {
  /** Reduced axes stay, with extent 1. */
  readonly keepDims?: boolean;
}

const kept = (x: Tensor, axes: readonly number[]): number[] => x.shape.map((n, i) => (axes.includes(i) ? 1 : n));

function reduceBy<D extends DType>(
  op: ReduceOp,
  name: string,
  x: Tensor<D>,
  axis: Axis,
  options: ReduceOptions = {},
): Tensor<D> {
  const axes = normalizeAxes(name, axis, x.ndim);
  if ((op === "max" || op === "min") && x.dtype !== "bool" && axes.some((a) => x.shape[a] === 0)) {
    throw new ShapeError(`${name}: an empty axis has no ${op} (got ${describe(x)})`);
  }
  const reduced: Tensor<D> = axes.length === 0 ? x : apply("reduce", [x], { op, axes });
  return options.keepDims ? reshape(reduced, kept(x, axes)) : reduced;
}

/** Sum over axes. Sums of bool: cast first. */
export const sum = <D extends DType>(x: Tensor<D>, axis?: Axis, options?: ReduceOptions): Tensor<D> =>
  reduceBy("sum", "sum", x, axis, options);

/** Product over axes. */
export const prod = <D extends DType>(x: Tensor<D>, axis?: Axis, options?: ReduceOptions): Tensor<D> =>
  reduceBy("prod", "prod", x, axis, options);

/** Largest element; NaN wins; the gradient goes to the lowest index among ties. */
export const max = <D extends DType>(x: Tensor<D>, axis?: Axis, options?: ReduceOptions): Tensor<D> =>
  reduceBy("max", "max", x, axis, options);

/** Smallest element; NaN wins; the gradient goes to the lowest index among ties. */
export const min = <D extends DType>(x: Tensor<D>, axis?: Axis, options?: ReduceOptions): Tensor<D> =>
  reduceBy("min", "min", x, axis, options);

/** Whether any element is true. */
export const any = (x: Tensor, axis?: Axis, options?: ReduceOptions): Tensor<"bool"> =>
  reduceBy("max", "any", x.cast("bool"), axis, options);

/** Whether all elements are true. */
export const all = (x: Tensor, axis?: Axis, options?: ReduceOptions): Tensor<"bool"> =>
  reduceBy("min", "all", x.cast("bool"), axis, options);

const countAlong = (x: Tensor, axes: readonly number[]): number => axes.reduce((n, a) => n * x.shape[a], 1);

/** Arithmetic mean; NaN of nothing, as in NumPy. */
export function mean<D extends DType>(x: Tensor<D>, axis?: Axis, options?: ReduceOptions): Tensor<D> {
  checkFloat("mean", x);
  const axes = normalizeAxes("mean", axis, x.ndim);
  return div(sum(x, axes, options), countAlong(x, axes)) as Tensor<D>;
}

export interface VarianceOptions extends ReduceOptions {
  /** Divide by `n - correction`, at least 0: 0 is the population variance, 1 the unbiased estimate, NaN or infinite of too few. */
  readonly correction?: number;
}

/** Mean squared distance from the mean: the population variance unless `correction` says otherwise. */
export function variance<D extends DType>(
  x: Tensor<D>,
  axis?: Axis,
  { correction = 0, ...options }: VarianceOptions = {},
): Tensor<D> {
  checkFloat("variance", x);
  const axes = normalizeAxes("variance", axis, x.ndim);
  const centred = sub(x, mean(x, axes, { keepDims: true }));
  return div(sum(mul(centred, centred), axes, options), Math.max(countAlong(x, axes) - correction, 0)) as Tensor<D>;
}

/** Square root of the variance; gradient 0 where the variance is 0. */
export const std = <D extends DType>(x: Tensor<D>, axis?: Axis, options?: VarianceOptions): Tensor<D> =>
  rootOrZero(variance(x, axis, options));

/** Euclidean norm, whose squares neither overflow nor vanish; gradient 0 at 0. */
export function norm<D extends DType>(x: Tensor<D>, axis?: Axis, options: ReduceOptions = {}): Tensor<D> {
  checkFloat("norm", x);
  const axes = normalizeAxes("norm", axis, x.ndim);
  const largest = constantPeak(abs(x), axes);
  const scale = where(largest.eq(0), 1, largest);
  const scaled = div(x, scale);
  const length = mul(rootOrZero(sum(mul(scaled, scaled), axes, { keepDims: true })), scale) as Tensor<D>;
  return options.keepDims ? length : squeeze(length, axes);
}

/**
 * The largest element along axes, kept with extent 1, as a constant: what stable formulas shift or scale by, so that their value
 * and gradient do not depend on it. 0 where there is none, or where it is infinite or NaN, which then show in the result.
 */
export function constantPeak<D extends DType>(x: Tensor<D>, axes: readonly number[]): Tensor<D> {
  if (axes.some((a) => x.shape[a] === 0)) return fullLike(x, 0, kept(x, axes), x.dtype);
  const top = apply("detach", [max(x, axes, { keepDims: true })], { invariant: true });
  return where(isFinite(top), top, 0) as Tensor<D>;
}

/** A square root whose gradient at 0 is 0, not infinite: the root is taken of 1 there and thrown away. */
function rootOrZero<D extends DType>(squares: Tensor<D>): Tensor<D> {
  const zero = squares.eq(0);
  return where(zero, 0, sqrt(where(zero, 1, squares))) as Tensor<D>;
}

/** `log(sum(exp(x)))`, stable at extremes: rows of -inf, and empty ones, give -inf, and +inf gives +inf. */
export function logSumExp<D extends DType>(x: Tensor<D>, axis?: Axis, options: ReduceOptions = {}): Tensor<D> {
  checkFloat("logSumExp", x);
  const axes = normalizeAxes("logSumExp", axis, x.ndim);
  const shift = constantPeak(x, axes);
  const total = add(log(sum(exp(sub(x, shift)), axes, { keepDims: true })), shift) as Tensor<D>;
  return options.keepDims ? total : squeeze(total, axes);
}

/** Applies a last-axis function along any axis. */
export function alongLast<D extends DType>(x: Tensor, axis: number, f: (rows: Tensor) => Tensor<D>): Tensor<D> {
  return axis === x.ndim - 1 ? f(x) : transpose(f(transpose(x, axis, -1)), axis, -1);
}

function argReduceBy(
  op: "max" | "min",
  name: string,
  x: Tensor,
  axis: number | undefined,
  options: ReduceOptions = {},
): Tensor<"i32"> {
  if (axis === undefined) {
    const index = argReduceBy(op, name, reshape(x, [x.size]), 0);
    return options.keepDims ? reshape(index, kept(x, [...x.shape.keys()])) : index;
  }
  const along = normalizeAxis(name, axis, x.ndim);
  const order = [...x.shape.keys()].filter((i) => i !== along);
  const index: Tensor<"i32"> = apply("argReduce", [permute(x, [...order, along])], { op });
  return options.keepDims ? reshape(index, kept(x, [along])) : index;
}

/** Index of the largest element along an axis, by default row-major in the whole tensor; the lowest among ties; NaN wins. */
export const argMax = (x: Tensor, axis?: number, options?: ReduceOptions): Tensor<"i32"> =>
  argReduceBy("max", "argMax", x, axis, options);

/** Index of the smallest element along an axis, by default row-major in the whole tensor; the lowest among ties; NaN wins. */
export const argMin = (x: Tensor, axis?: number, options?: ReduceOptions): Tensor<"i32"> =>
  argReduceBy("min", "argMin", x, axis, options);

export interface ScanOptions {
  /** Accumulate from the end. */
  readonly reverse?: boolean;
  /** Leave the element itself out. */
  readonly exclusive?: boolean;
}

function scanBy<D extends DType>(
  op: "sum" | "prod" | "max",
  name: string,
  x: Tensor<D>,
  axis: number,
  options: ScanOptions,
): Tensor<D> {
  const { reverse = false, exclusive = false } = options;
  return alongLast(x, normalizeAxis(name, axis, x.ndim), (rows) => apply("scan", [rows], { op, reverse, exclusive }));
}

/** Running sum along an axis. */
export const cumsum = <D extends DType>(x: Tensor<D>, axis = -1, options: ScanOptions = {}): Tensor<D> =>
  scanBy("sum", "cumsum", x, axis, options);

/** Running product along an axis; its gradient is right where elements are 0. */
export const cumprod = <D extends DType>(x: Tensor<D>, axis = -1, options: ScanOptions = {}): Tensor<D> =>
  scanBy("prod", "cumprod", x, axis, options);

/** Running maximum along an axis. */
export const cummax = <D extends DType>(x: Tensor<D>, axis = -1, options: ScanOptions = {}): Tensor<D> =>
  scanBy("max", "cummax", x, axis, options);
