// Counter-based random numbers (Threefry-2x32-20). No hidden generator: every function takes a key, and the same key gives the
// same numbers on every device and for any number of threads. Exported as the namespace `random`.
import { apply, fullLike } from "../apply.ts";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { makeNode } from "../node.ts";
import { hostLeaf } from "../runtime/realize.ts";
import { leafStorage } from "../runtime/leaves.ts";
import { defaultFloat } from "../runtime/defaults.ts";
import { defaultDevice } from "../runtime/devices.ts";
import { describe } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { DeviceName, FloatDType, Shape } from "../types.ts";
import { clip, exp, log, mul, normalCdf, shiftRight, sqrt, sub, xor } from "./elementwise.ts";
import { argsort, gather } from "./indexing.ts";
import { argMax } from "./reductions.ts";
import { slice } from "./views.ts";

/** The state of a random stream: two 32-bit words. Never consumed: the same key gives the same numbers; `split` makes new ones. */
export type Key = Tensor<"u32">;

type Tuple<T, N extends number, R extends T[] = []> = number extends N
  ? T[]
  : R["length"] extends N
    ? R
    : Tuple<T, N, [...R, T]>;

export interface FloatOptions {
  /** f32 unless it says otherwise. */
  readonly dtype?: FloatDType;
}

/** What keeps the streams of different uses apart: each xors the key with words of its own. */
const domains = { split: [0x9e3779b9, 0x7f4a7c15], fold: [0xbf58476d, 0x1ce4e5b9] } as const;

function checkKey(op: string, key: Key): void {
  if (key.dtype !== "u32" || key.ndim !== 1 || key.shape[0] !== 2) {
    throw new ShapeError(`random.${op}: a key is u32[2], made by random.key, split or fold (got ${describe(key)})`);
  }
}

/** The key in another domain: word 0 where the coordinate is 0, word 1 where it is 1. */
function inDomain(key: Key, [first, second]: readonly [number, number]): Key {
  const coordinate = key.derive(makeNode("iota", [], { shape: [2], axis: 0, dtype: "u32" }, key.device));
  // Arithmetic on data, not a constant tensor: nothing to upload.
  return xor(key, coordinate.mul((second - first) >>> 0).add(first)) as Key;
}

const words = (key: Key, stream: Tensor, shape: Shape): Tensor<"u32"> => apply("randomBits", [key, stream], { shape });

/** A key from a seed: any integer up to 2^53 in magnitude. */
export function key(seed: number, { device }: { readonly device?: DeviceName } = {}): Key {
  if (!Number.isSafeInteger(seed)) throw new ConfigError(`random.key: a seed is an integer, got ${seed}`);
  const data = Uint32Array.of(Math.floor(seed / 2 ** 32) >>> 0, seed >>> 0);
  const node = hostLeaf(device ?? defaultDevice(), [2], data, "u32", "key");
  return new Tensor<"u32">(node, leafStorage(node));
}

/** `count` independent keys. */
export function split<N extends number = 2>(from: Key, count: N = 2 as N): Tuple<Key, N> {
  checkKey("split", from);
  if (!Number.isInteger(count) || count < 1)
    throw new ShapeError(`random.split: the count is a positive integer, got ${count}`);
  const all = words(inDomain(from, domains.split), fullLike(from, 0, [], "u32"), [count, 2]);
  return Array.from({ length: count }, (_, i) => slice(all, i)) as Tuple<Key, N>;
}

/** A key for each value of a counter, such as the step. A number is data: stepping it recompiles nothing. */
export function fold(from: Key, data: number | Tensor): Key {
  checkKey("fold", from);
  if (typeof data === "number" && (!Number.isInteger(data) || data < 0 || data > 0xffffffff)) {
    throw new DTypeError(`random.fold: a counter is an integer from 0 to 2^32 - 1, got ${data}`);
  }
  const stream = typeof data === "number" ? fullLike(from, data, [], "u32") : data.cast("u32");
  return words(inDomain(from, domains.fold), stream, [2]);
}

/** Uniform 32-bit words. The same on every device, bit for bit. */
export function bits(from: Key, shape: Shape): Tensor<"u32"> {
  checkKey("bits", from);
  return words(from, fullLike(from, 0, [], "u32"), shape);
}

export interface UniformOptions extends FloatOptions {
  readonly min?: number;
  readonly max?: number;
}

/** Uniform on `[min, max)`, `[0, 1)` by default: 24 random bits in f32, 53 in f64. On `[0, 1)` the same on every device, bit for bit. */
export function uniform(
  from: Key,
  shape: Shape,
  { min = 0, max = 1, dtype = defaultFloat() }: UniformOptions = {},
): Tensor<FloatDType> {
  const unit =
    dtype === "f32"
      ? shiftRight(bits(from, shape), 8)
          .cast("f32")
          .mul(2 ** -24)
      : unit53(from, shape);
  const scaled = max - min === 1 ? unit : unit.mul(max - min);
  return (min === 0 ? scaled : scaled.add(min)) as Tensor<FloatDType>;
}

function unit53(from: Key, shape: Shape): Tensor<"f64"> {
  const pair = bits(from, [2, ...shape]);
  const high = shiftRight(slice(pair, 0), 5).cast("f64");
  const low = shiftRight(slice(pair, 1), 6).cast("f64");
  return high
    .mul(2 ** 26)
    .add(low)
    .mul(2 ** -53);
}

export interface NormalOptions extends FloatOptions {
  readonly mean?: number;
  readonly std?: number;
}

/** Normal deviates (Box and Muller, 1958): `sqrt(-2 log u) cos(2 pi v)`. Devices agree within 8 ulps or 1e-6. */
export function normal(
  from: Key,
  shape: Shape,
  { mean = 0, std = 1, dtype = defaultFloat() }: NormalOptions = {},
): Tensor<FloatDType> {
  const pair = uniform(from, [2, ...shape], { dtype });
  const radius = sqrt(mul(log(sub(1, slice(pair, 0))), -2));
  const standard = radius.mul(
    slice(pair, 1)
      .mul(2 * Math.PI)
      .cos(),
  );
  const scaled = std === 1 ? standard : standard.mul(std);
  return (mean === 0 ? scaled : scaled.add(mean)) as Tensor<FloatDType>;
}

export interface TruncatedOptions extends FloatOptions {
  readonly lower?: number;
  readonly upper?: number;
}

/** Standard normal deviates within `[lower, upper]`, `[-2, 2]` by default, by inverting the distribution function. */
export function truncatedNormal(from: Key, shape: Shape, options: TruncatedOptions = {}): Tensor<FloatDType> {
  const { lower = -2, upper = 2, dtype = defaultFloat() } = options;
  if (!(lower < upper))
    throw new ConfigError(`random.truncatedNormal: lower must be below upper, got ${lower} and ${upper}`);
  const like = uniform(from, shape, { dtype });
  const [low, high] = [lower, upper].map((bound) => normalCdf(fullLike(like, bound, [], dtype)));
  return clip(quantile(high.sub(low).mul(like).add(low)), lower, upper) as Tensor<FloatDType>;
}

/**
 * The inverse of the normal distribution function: Winitzki's closed approximation of the inverse error function, then three
 * steps of Newton, each of which doubles the digits.
 */
function quantile(p: Tensor): Tensor {
  const a = 0.147;
  const x = p.mul(2).sub(1);
  const logarithm = log(sub(1, x.square()).maximum(1e-30));
  const middle = logarithm.mul(0.5).add(2 / (Math.PI * a));
  let z = x
    .sign()
    .mul(sqrt(sqrt(middle.square().sub(logarithm.div(a))).sub(middle)))
    .mul(Math.SQRT2);
  for (let step = 0; step < 3; step++) {
    const density = exp(z.square().mul(-0.5)).mul(1 / Math.sqrt(2 * Math.PI));
    z = z.sub(normalCdf(z).sub(p).div(density));
  }
  return z;
}

/** Integers from `min` up to but without `max`. */
export function randint(
  from: Key,
  shape: Shape,
  { min = 0, max }: { readonly min?: number; readonly max: number },
): Tensor<"i32"> {
  if (!Number.isInteger(min) || !Number.isInteger(max) || max <= min || max - min > 0x7fffffff) {
    throw new ConfigError(`random.randint: takes integers min < max less than 2^31 apart, got ${min} and ${max}`);
  }
  return bits(from, shape)
    .mod(max - min)
    .cast("i32")
    .add(min);
}

/** True with probability `p`. */
export function bernoulli(from: Key, shape: Shape, { p = 0.5 }: { readonly p?: number } = {}): Tensor<"bool"> {
  return uniform(from, shape).lt(p);
}

/** The numbers `0..n-1`, or the rows of a tensor, in random order. */
export function permutation(from: Key, of: number): Tensor<"i32">;
export function permutation(from: Key, of: Tensor): Tensor;
export function permutation(from: Key, of: number | Tensor): Tensor {
  const order = argsort(bits(from, [typeof of === "number" ? of : of.shape[0]]));
  return typeof of === "number" ? order : gather(of, order, 0);
}

/** Standard Gumbel deviates: `-log(-log u)`. */
export function gumbel(from: Key, shape: Shape, { dtype = defaultFloat() }: FloatOptions = {}): Tensor<FloatDType> {
  const u = uniform(from, shape, { dtype }).maximum(2 ** -25);
  return log(log(u).neg()).neg() as Tensor<FloatDType>;
}

/** An index along an axis with probability `softmax(logits)`, by the Gumbel-max trick. */
export function categorical(from: Key, logits: Tensor, axis = -1): Tensor<"i32"> {
  return argMax(logits.add(gumbel(from, logits.shape, { dtype: logits.dtype as FloatDType })), axis);
}
