import { attention as attend, ConfigError, random, ShapeError, where, type Key, type Tensor } from "@switchyard/tensor";
import {
  checkOptions,
  describe,
  flag,
  fullLike,
  iotaLike,
  nonNegative,
  positiveInteger,
  positiveNumber,
  requireOptions,
} from "@switchyard/tensor/graph";
import { affine } from "./linear.ts";
import { normalization, type NormalizationParams } from "./normalization.ts";
import { rotary } from "./rotary.ts";

export interface AttentionOptions {
  /** D, the width of what goes in and comes out. */
  readonly dim: number;
  /** How many heads ask; divides `dim`. */
  readonly heads: number;
  /** How many heads are asked, each by `heads / kvHeads` others; as many as ask by default. */
  readonly kvHeads?: number;
  /** The base of rotary positions, 10000 as a rule. Left out, positions are none of attention's business. */
  readonly rope?: number;
  /** Whether queries and keys are brought to one scale, each by a root-mean-square norm over all heads, as in OLMoE; false by default. */
  readonly qkNorm?: boolean;
  /** Of that norm: added to the mean square; 1e-5 by default. */
  readonly normEps?: number;
  /** The standard deviation of the first `out`; `1 / sqrt(dim)` by default. */
  readonly outStd?: number;
}

export interface AttentionParams {
  /** `[D, (heads + 2 kvHeads) · D / heads]`: queries, keys and values side by side, so that they are one product. */
  readonly qkv: Tensor;
  /** `[D, D]`. */
  readonly out: Tensor;
  /** Of `[D]`, with `qkNorm`. */
  readonly queryNorm?: NormalizationParams;
  /** Of `[kvHeads · D / heads]`, with `qkNorm`. */
  readonly keyNorm?: NormalizationParams;
}

/** Keys and values of the positions so far, with room for the rest of the context. */
export interface AttentionCache {
  /** `[B, kvHeads, C, D / heads]`. */
  readonly keys: Tensor;
  /** `[B, kvHeads, C, D / heads]`. */
  readonly values: Tensor;
}

export interface Attention {
  init(key: Key): AttentionParams;
  /** `[B, S, D] -> [B, S, D]`; each position sees itself and those before it. */
  apply(params: AttentionParams, x: Tensor): Tensor;
  /** An empty cache, where the parameters are and of their dtype. */
  start(params: AttentionParams, batch: number, context: number): AttentionCache;
  /**
   * Positions that go on from a cache.
   *
   * @param x `[B, S, D]`.
   * @param position `i32[]`: how many positions the cache holds. A tensor, so that another position is the same plan.
   */
  step(
    params: AttentionParams,
    x: Tensor,
    cache: AttentionCache,
    position: Tensor,
  ): { readonly output: Tensor; readonly cache: AttentionCache };
}

/**
 * Causal self-attention with several heads (Vaswani et al. 2017), groups of which may share keys and values (Ainslie et al. 2023,
 * "GQA"). No biases. Weights start normal with standard deviation `1 / sqrt(D)`.
 *
 * @throws {ConfigError} on a bad option.
 */
export function attention(options: AttentionOptions): Attention {
  const { dim, heads, kvHeads, rope, qkNorm, normEps, outStd, width } = checkAttention(options);
  const queryNormal = normalization({ dim, eps: normEps });
  const keyNormal = normalization({ dim: kvHeads * width, eps: normEps });

  /** x as queries, keys and values, at positions `first..first + S - 1`. */
  const project = (params: AttentionParams, x: Tensor, first?: Tensor): readonly [q: Tensor, k: Tensor, v: Tensor] => {
    if (x.ndim !== 3) throw new ShapeError(`attention: takes sequences [batch, steps, ${dim}] (got ${describe(x)})`);
    const [batch, steps] = x.shape;
    const parts = affine("attention", x, params.qkv).split([dim, kvHeads * width, kvHeads * width], 2);
    if (params.queryNorm) parts[0] = queryNormal.apply(params.queryNorm, parts[0]);
    if (params.keyNorm) parts[1] = keyNormal.apply(params.keyNorm, parts[1]);
    const [q, k, v] = parts.map((part) => part.reshape([batch, steps, -1, width]).transpose(1, 2)); // [B, heads, S, width]
    if (rope === undefined) return [q, k, v];
    const count = iotaLike(x, [steps], 0, "i32");
    const positions = first ? count.add(first) : count;
    return [rotary(q, positions, rope), rotary(k, positions, rope), v];
  };
  const merge = (out: Tensor, heard: Tensor): Tensor => {
    const [batch, , steps] = heard.shape;
    return affine("attention", heard.transpose(1, 2).reshape([batch, steps, dim]), out);
  };

  return {
    init(key) {
      const [qkvKey, outKey] = random.split(key, 2);
      return {
        qkv: random.normal(qkvKey, [dim, (heads + 2 * kvHeads) * width]).mul(dim ** -0.5),
        out: random.normal(outKey, [dim, dim]).mul(outStd),
        ...(qkNorm && { queryNorm: queryNormal.init(), keyNorm: keyNormal.init() }),
      };
    },
    apply(params, x) {
      const [q, k, v] = project(params, x);
      return merge(params.out, attend(q, k, v, { causal: true }));
    },
    start({ qkv }, batch, context) {
      const empty = fullLike(qkv, 0, [batch, kvHeads, context, width], qkv.dtype);
      return { keys: empty, values: empty };
    },
    step(params, x, cache, position) {
      const [q, k, v] = project(params, x, position);
      const keys = writeAt(cache.keys, k, position);
      const values = writeAt(cache.values, v, position);
      return {
        output: merge(params.out, attend(q, keys, values, { mask: visible(x.shape[1], keys.shape[2], position) })),
        cache: { keys, values },
      };
    },
  };
}

function checkAttention(
  options: AttentionOptions,
): Required<Omit<AttentionOptions, "rope">> & { rope?: number; width: number } {
  checkOptions("attention", options, {
    dim: positiveInteger,
    heads: positiveInteger,
    kvHeads: positiveInteger,
    rope: positiveNumber,
    qkNorm: flag,
    normEps: nonNegative,
    outStd: nonNegative,
  });
  requireOptions("attention", options, "dim", "heads");
  const { dim, heads, kvHeads = heads, rope, qkNorm = false, normEps = 1e-5, outStd = dim ** -0.5 } = options;
  if (dim % heads !== 0) throw new ConfigError(`attention: heads must divide dim, but ${heads} does not divide ${dim}`);
  if (heads % kvHeads !== 0)
    throw new ConfigError(`attention: kvHeads must divide heads, but ${kvHeads} does not divide ${heads}`);
  const width = dim / heads;
  if (rope !== undefined && width % 2 !== 0)
    throw new ConfigError(
      `attention: rope turns pairs of features, but a head of dim / heads = ${width} has one left over`,
    );
  return { dim, heads, kvHeads, rope, qkNorm, normEps, outStd, width };
}

/** `cache` with rows `position..position + S - 1` replaced: `[B, G, C, W]` and `[B, G, S, W]`. */
function writeAt(cache: Tensor, rows: Tensor, position: Tensor): Tensor {
  const [context, steps] = [cache.shape[2], rows.shape[2]];
  const source = iotaLike(cache, [context], 0, "i32").sub(position); // the row to take, for each row of the cache
  const inside = source.ge(0).and(source.lt(steps)).expandDims(1); // [C, 1]
  return where(inside, rows.gather(source.clip(0, steps - 1), 2), cache);
}

/**
 * Which rows of a cache a query may see: itself and those before it.
 *
 * @param position `i32[]`: the position of the first query.
 * @returns `bool[S, C]`.
 */
function visible(steps: number, context: number, position: Tensor): Tensor {
  const query = iotaLike(position, [steps, 1], 0, "i32").add(position);
  return iotaLike(position, [1, context], 1, "i32").le(query);
}
