import { random, scope, type Key, type Tensor } from "@switchyard/tensor";
import { attention, type AttentionCache, type AttentionOptions, type AttentionParams } from "../layers/attention.ts";
import { feedForward, type FeedForwardOptions, type FeedForwardParams } from "../layers/feedForward.ts";
import { moe as mixture, type MoeOptions, type MoeParams, type MoeResult } from "../layers/moe.ts";
import { normalization, type NormalizationParams, type NormKind } from "../layers/normalization.ts";
import type { RouteOptions, Routing } from "../routing/routing.ts";

export interface BlockOptions<P, R extends Routing>
  extends Omit<AttentionOptions, "outStd">, Pick<FeedForwardOptions, "hidden" | "activation"> {
  readonly norm: NormKind;
  /** A mixture in place of the feed-forward network; null for none. */
  readonly moe: (Omit<MoeOptions<P, R, string>, "dim" | "hidden" | "activation"> & { readonly hidden?: number }) | null;
  /** What the first weights of a sublayer that adds to the stream are multiplied by. */
  readonly residual: number;
}

export interface BlockParams<P> {
  readonly attentionNorm: NormalizationParams;
  readonly attention: AttentionParams;
  readonly norm: NormalizationParams;
  /** Of a layer with a mixture. */
  readonly moe?: MoeParams<P>;
  /** Of a layer without one. */
  readonly feedForward?: FeedForwardParams;
}

export interface BlockResult<R extends Routing> {
  /** `[B, S, D]`. */
  readonly x: Tensor;
  /** What its mixture, if it has one, comes with. */
  readonly mixture?: MoeResult<R, string>;
  /** Of a sequence that goes on. */
  readonly cache?: AttentionCache;
}

/** One layer of a transformer. */
export interface Block<P, R extends Routing> {
  init(key: Key): BlockParams<P>;
  /**
   * @param x `[B, S, D]`.
   * @param past what came before x, for a sequence that goes on.
   */
  apply(
    params: BlockParams<P>,
    x: Tensor,
    options: RouteOptions,
    past?: { readonly cache: AttentionCache; readonly position: Tensor },
  ): BlockResult<R>;
  /** An empty cache, for a number of sequences of at most so many tokens. */
  start(params: BlockParams<P>, batch: number, context: number): AttentionCache;
}

/** `x + attention(norm(x))`, then `x + network(norm(x))`, the network being a mixture or a dense one. */
export function block<P, R extends Routing>(options: BlockOptions<P, R>): Block<P, R> {
  const { dim, heads, kvHeads, rope, qkNorm, normEps, hidden, activation, norm, moe, residual } = options;
  const normal = normalization({ dim, kind: norm, eps: normEps });
  const attending = attention({ dim, heads, kvHeads, rope, qkNorm, normEps, outStd: residual * dim ** -0.5 });
  const dense = feedForward({ dim, hidden, activation, outStd: residual * hidden ** -0.5 });
  const sparse = moe && mixture({ ...moe, dim, hidden: moe.hidden ?? hidden, activation });
  return {
    start: (params, batch, context) => attending.start(params.attention, batch, context),
    init(key) {
      const [attentionKey, innerKey] = random.split(key, 2);
      return {
        attentionNorm: normal.init(),
        attention: attending.init(attentionKey),
        norm: normal.init(),
        ...(sparse ? { moe: sparse.init(innerKey) } : { feedForward: dense.init(innerKey) }),
      };
    },
    apply(params, x, routeOptions, past) {
      const heard = scope("attention", () => {
        const inner = normal.apply(params.attentionNorm, x);
        return past
          ? attending.step(params.attention, inner, past.cache, past.position)
          : { output: attending.apply(params.attention, inner), cache: undefined };
      });
      const { cache } = heard;
      x = x.add(heard.output);
      const inner = normal.apply(params.norm, x);
      if (!sparse) return { x: x.add(scope("feedForward", () => dense.apply(params.feedForward!, inner))), cache };
      const mixed = scope("moe", () => sparse.apply(params.moe!, inner, routeOptions));
      return { x: x.add(mixed.output), mixture: mixed, cache };
    },
  };
}
