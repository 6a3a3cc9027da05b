import { apply, checkFloat, fullLike, iotaLike } from "../apply.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import { full } from "../make.ts";
import { checkOptions, type Rule, type Rules } from "../options.ts";
import { defaultFloat } from "../runtime/defaults.ts";
import { describe, normalizeAxis } from "../shape.ts";
import { normalCdf } from "../special.ts";
import type { Tensor } from "../tensor.ts";
import type { DeviceName, DType, FloatDType, Shape } from "../types.ts";
import { add, lt, minimum, shiftRight, type Operand } from "./elementwise.ts";
import { argsort, gather } from "./indexing.ts";
import { normalQuantile } from "./normalQuantile.ts";
import { argMax } from "./reductions.ts";
import type { SliceRange } from "./views.ts";

/**
 * A seed and a place in its tree: `u32[2]`. Spend each key once: the same key and shape give the same numbers, on every device.
 * It is a tensor, so it fits trees and checkpoints.
 */
export type Key = Tensor<"u32">;

/** A tuple of `N` keys where `N` is a literal, else an array. */
export type Keys<N extends number> = number extends N ? Key[] : KeyTuple<N>;
type KeyTuple<N extends number, T extends Key[] = []> = T["length"] extends N ? T : KeyTuple<N, [...T, Key]>;

const WORD = 2 ** 32;

/** `split` and `fold` each work under the key masked by their own constant, so that they never meet the stream of `bits`. */
const SPLIT_MASK = 0x5f3759df;
const FOLD_MASK = 0x2545f491;

/**
 * The root of a tree of random numbers.
 * @param seed any integer up to 2^53 in magnitude.
 * @throws {ConfigError} for any other seed.
 */
export function key(seed: number, { device }: { readonly device?: DeviceName } = {}): Key {
  if (!Number.isSafeInteger(seed))
    throw new ConfigError(`random.key: a seed is an integer up to 2^53 in magnitude, got ${seed}`);
  // Constants, not an uploaded leaf: a key made anew at each step owns no buffer.
  const high = full([2], Math.floor(seed / WORD) >>> 0, { dtype: "u32", device });
  const low = fullLike(high, seed >>> 0, [2], "u32");
  return high.where(iotaLike(high, [2], 0, "u32").eq(0), low);
}

function checkKey(op: string, k: Key): Key {
  if (k?.dtype === "u32" && k.shape.length === 1 && k.shape[0] === 2) return k;
  const got = k?.shape ? describe(k) : String(k);
  throw new ShapeError(`random.${op}: a key is u32[2], from random.key or random.split (got ${got})`);
}

const words = (k: Key, stream: Tensor, shape: Shape): Tensor<"u32"> => apply("randomBits", [k, stream], { shape });

const uniformWords = (op: string, k: Key, shape: Shape): Tensor<"u32"> =>
  words(checkKey(op, k), fullLike(k, 0, [], "u32"), shape);

/** Two words for each element. */
function wordPairs(op: string, k: Key, shape: Shape): [high: Tensor<"u32">, low: Tensor<"u32">] {
  const pairs = uniformWords(op, k, [...shape, 2]);
  const word = (at: 0 | 1): Tensor<"u32"> => pairs.slice(...shape.map((): SliceRange => []), at);
  return [word(0), word(1)];
}

/**
 * Independent keys, by default two. The given key is spent.
 * @throws {ShapeError} unless `n` is a positive integer.
 */
export function split<const N extends number = 2>(k: Key, n?: N): Keys<N> {
  const count: number = n ?? 2;
  if (!Number.isInteger(count) || count < 1)
    throw new ShapeError(`random.split: how many keys is a positive integer, got ${count}`);
  const rows = uniformWords("split", checkKey("split", k).xor(SPLIT_MASK), [count, 2]);
  return Array.from({ length: count }, (_, i) => rows.slice(i)) as Keys<N>;
}

/**
 * The key at a place: a step, a layer, a rank. The key itself is not spent by it, so one key serves all steps.
 *
 * @param place an integer from 0 to 2^32 - 1. As a number it is data: folding in another step recompiles nothing. Or an integer scalar, not negative.
 */
export function fold(k: Key, place: number | Tensor): Key {
  checkKey("fold", k);
  if (typeof place === "number" && !(Number.isInteger(place) && place >= 0 && place < WORD))
    throw new ConfigError(`random.fold: a place is an integer from 0 to 2^32 - 1, got ${place}`);
  if (typeof place !== "number" && (place.ndim !== 0 || (place.dtype !== "i32" && place.dtype !== "u32")))
    throw new ShapeError(`random.fold: a place is a number or an integer scalar (got ${describe(place)})`);
  const stream = typeof place === "number" ? fullLike(k, place, [], "u32") : place.cast("u32");
  return words(k.xor(FOLD_MASK), stream, [2]);
}

/** Uniform 32-bit words. */
export const bits = (k: Key, shape: Shape): Tensor<"u32"> => uniformWords("bits", k, shape);

export interface RandomOptions<D extends DType> {
  readonly dtype?: D;
}

const aNumber: Rule = { must: "a number", holds: (value) => typeof value === "number" };
const dtyped: Rules<RandomOptions<DType>> = {
  dtype: { must: "a dtype", holds: (value) => typeof value === "string" },
};

/** Uniform integers of 11 bits in f16, of 24 in f32, of 53 in f64, less `dropped` bits: as many as the dtype holds exactly. */
function uniformInteger<D extends FloatDType>(
  op: string,
  k: Key,
  shape: Shape,
  dtype: D,
  dropped: 0 | 1,
): { readonly value: Tensor<D>; readonly range: number } {
  if (dtype !== "f64") {
    const bits = (dtype === "f32" ? 24 : 11) - dropped;
    return { value: shiftRight(uniformWords(op, k, shape), 32 - bits).cast(dtype), range: 2 ** bits };
  }
  const [high, low] = wordPairs(op, k, shape);
  const upper = shiftRight(high, 5 + dropped).cast(dtype);
  return { value: upper.mul(2 ** 26).add(shiftRight(low, 6).cast(dtype)), range: 2 ** (53 - dropped) };
}

const uniform01 = <D extends FloatDType>(op: string, k: Key, shape: Shape, dtype: D): Tensor<D> => {
  const { value, range } = uniformInteger(op, k, shape, dtype, 0);
  return value.mul(1 / range);
};

export interface UniformOptions<D extends DType> extends RandomOptions<D> {
  readonly min?: number;
  readonly max?: number;
}

/** Uniform on `[min, max)`, by default `[0, 1)`; on any other interval rounding may reach `max`. */
export function uniform<D extends FloatDType = "f32">(
  k: Key,
  shape: Shape,
  options: UniformOptions<D> = {},
): Tensor<D> {
  checkOptions("random.uniform", options, { ...dtyped, min: aNumber, max: aNumber });
  const { min = 0, max = 1, dtype = defaultFloat() as D } = options;
  if (!(min <= max)) throw new ConfigError(`random.uniform: takes min <= max, got [${min}, ${max})`);
  const unit = uniform01("uniform", k, shape, dtype);
  return min === 0 && max === 1 ? unit : unit.mul(max - min).add(min);
}

/** What f16 is too coarse to be computed in is drawn in f32. */
const rounded = <D extends FloatDType>(x: Tensor<"f32">): Tensor<D> => x.cast("f16") as Tensor as Tensor<D>;

export interface NormalOptions<D extends DType> extends RandomOptions<D> {
  readonly mean?: number;
  readonly std?: number;
}

/** Normal, by inversion: `z = quantile(u)` with u on a grid of 2^24 (f64: 2^53) midpoints, so |z| < 5.5 (f64: 8.3). Mean and std are data. */
export function normal<D extends FloatDType = "f32">(k: Key, shape: Shape, options: NormalOptions<D> = {}): Tensor<D> {
  checkOptions("random.normal", options, { ...dtyped, mean: aNumber, std: aNumber });
  const { mean = 0, std = 1, dtype = defaultFloat() as D } = options;
  if (dtype === "f16") return rounded<D>(normal(k, shape, { mean, std, dtype: "f32" }));
  const { value, range } = uniformInteger("normal", k, shape, dtype, 0);
  const q = value.sub((range - 1) / 2).mul(1 / range); // exact, symmetric, never 0
  const z = normalQuantile(q, q.abs().neg().add(0.5));
  return mean === 0 && std === 1 ? z : z.mul(std).add(mean);
}

export interface TruncatedNormalOptions<D extends DType> extends RandomOptions<D> {
  readonly lower?: number;
  readonly upper?: number;
}

/**
 * Standard normal given that it lies in `[lower, upper]`, by default two standard deviations either way.
 * @throws {ConfigError} unless `lower < upper` and the interval meets `[-5, 5]` (f64: `[-8, 8]`), where the quantile is accurate.
 */
export function truncatedNormal<D extends FloatDType = "f32">(
  k: Key,
  shape: Shape,
  options: TruncatedNormalOptions<D> = {},
): Tensor<D> {
  checkOptions("random.truncatedNormal", options, { ...dtyped, lower: aNumber, upper: aNumber });
  const { lower = -2, upper = 2, dtype = defaultFloat() as D } = options;
  if (dtype === "f16") return rounded<D>(truncatedNormal(k, shape, { lower, upper, dtype: "f32" }));
  const reach = dtype === "f32" ? 5 : 8;
  if (!(lower < upper && lower < reach && upper > -reach))
    throw new ConfigError(
      `random.truncatedNormal: takes lower < upper with part of the interval within ${reach} of 0, got [${lower}, ${upper}]`,
    );
  // A probability keeps its digits near 0 and would lose them near 1: draw on the side that holds more of the lower tail.
  if (lower + upper > 0) return truncatedNormal(k, shape, { lower: -upper, upper: -lower, dtype }).neg();
  const [from, to] = [normalCdf(lower), normalCdf(upper)];
  const p = uniform01("truncatedNormal", k, shape, dtype)
    .mul(to - from)
    .add(from);
  const tail = minimum(p, p.neg().add(1)).maximum(dtype === "f32" ? 2 ** -25 : 2 ** -54);
  return normalQuantile(p.sub(0.5), tail as Tensor<D>).clip(lower, upper);
}

/** Gumbel noise, `-log(-log(u))`: the argmax of logits plus this is a sample of their softmax. */
export function gumbel<D extends FloatDType = "f32">(k: Key, shape: Shape, options: RandomOptions<D> = {}): Tensor<D> {
  checkOptions("random.gumbel", options, dtyped);
  const { dtype = defaultFloat() as D } = options;
  if (dtype === "f16") return rounded<D>(gumbel(k, shape, { dtype: "f32" }));
  // Midpoints of a grid of 2^23 (f64: 2^52), so neither end is reached.
  const { value, range } = uniformInteger("gumbel", k, shape, dtype, 1);
  return value
    .add(0.5)
    .mul(1 / range)
    .log()
    .neg()
    .log()
    .neg();
}

const wider = (x: Tensor): Tensor => (x.dtype === "f16" ? x.cast("f32") : x);

/** Indices drawn from `softmax(logits)` along an axis, which disappears. Logits of -inf are never drawn. */
export function categorical(k: Key, logits: Tensor, axis = -1): Tensor<"i32"> {
  checkFloat("random.categorical", logits);
  const along = normalizeAxis("random.categorical", axis, logits.ndim);
  const wide = wider(logits);
  return argMax(add(wide, gumbel(k, wide.shape, { dtype: wide.dtype as FloatDType })), along);
}

export interface BernoulliOptions {
  /** The probability of true: a number (data) or a tensor that broadcasts to the shape. */
  readonly p?: Operand;
}

/** True with probability `p`, by default one half. */
export function bernoulli(k: Key, shape: Shape, options: BernoulliOptions = {}): Tensor<"bool"> {
  checkOptions("random.bernoulli", options, {
    p: { must: "a number or a tensor", holds: (value) => typeof value === "number" || typeof value === "object" },
  });
  const { p = 0.5 } = options;
  const dtype = typeof p !== "number" && p.dtype === "f64" ? "f64" : "f32";
  return lt(uniform01("bernoulli", k, shape, dtype), typeof p === "number" ? p : wider(p));
}

export interface RandintOptions {
  /** The least integer, 0 by default. */
  readonly min?: number;
  /** One past the largest. */
  readonly max: number;
}

/**
 * Uniform integers in `[min, max)`. 64 random bits are scaled to the range, so no probability is off by more than 2^-64.
 * Both bounds are data.
 *
 * @throws {ConfigError} unless the bounds are integers of i32, `min < max` and the range is at most 2^31.
 */
export function randint(k: Key, shape: Shape, options: RandintOptions): Tensor<"i32"> {
  checkOptions("random.randint", options, { min: aNumber, max: aNumber });
  const { min = 0, max } = options;
  const span = max - min;
  const fits = Number.isInteger(min) && Number.isInteger(max) && min >= -(2 ** 31) && max <= 2 ** 31;
  if (!fits || span < 1 || span > 2 ** 31)
    throw new ConfigError(
      `random.randint: takes integers min < max in the range of i32, at most 2^31 apart, got [${min}, ${max})`,
    );
  const [high, low] = wordPairs("randint", k, shape);
  const part = highProduct(low, span);
  const carry = high.mul(span).add(part).lt(part).cast("u32"); // the sum wraps when it is below its part
  return highProduct(high, span).add(carry).cast("i32").add(min);
}

/** The upper word of the 64-bit product of 32-bit integers, by halves: WGSL has no wide multiply. */
function highProduct(x: Tensor, y: number): Tensor<"u32"> {
  const [yHigh, yLow] = [Math.floor(y / 0x10000), y % 0x10000];
  const [xHigh, xLow] = [shiftRight(x, 16), x.and(0xffff)];
  const first = xHigh.mul(yLow).add(shiftRight(xLow.mul(yLow), 16));
  const second = xLow.mul(yHigh).add(first.and(0xffff));
  return xHigh.mul(yHigh).add(shiftRight(first, 16)).add(shiftRight(second, 16)) as Tensor<"u32">;
}

/** Up to this many, 32 random bits are distinct but for one case in a thousand; beyond, the order takes 64. */
const SINGLE_WORD_PERMUTATION = 2900;

/** The integers from 0 to `n - 1`, or the rows of a tensor, in random order. */
export function permutation(k: Key, of: number): Tensor<"i32">;
export function permutation<D extends DType>(k: Key, of: Tensor<D>): Tensor<D>;
export function permutation(k: Key, of: number | Tensor): Tensor {
  if (typeof of !== "number") return gather(of, permutation(k, of.shape[0]));
  if (of <= SINGLE_WORD_PERMUTATION) return argsort(uniformWords("permutation", k, [of]));
  const [high, low] = wordPairs("permutation", k, [of]);
  const byLow = argsort(low);
  return gather(byLow, argsort(gather(high, byLow))); // by the high word, ties by the low one
}
