import {
  ConfigError,
  crossEntropy,
  DTypeError,
  random,
  scope,
  ShapeError,
  zeros,
  type Key,
  type Tensor,
} from "@switchyard/tensor";
import {
  checkOptions,
  describe,
  flag,
  fullLike,
  iotaLike,
  oneOf,
  positiveInteger,
  requireOptions,
} from "@switchyard/tensor/graph";
import { attention, type AttentionCache, type AttentionParams } from "../layers/attention.ts";
import { embedding, type EmbeddingParams } from "../layers/embedding.ts";
import type { Activation } from "../layers/experts.ts";
import { feedForward, type FeedForwardParams } from "../layers/feedForward.ts";
import { linear, type LinearParams } from "../layers/linear.ts";
import { moe as mixture, type MoeOptions, type MoeParams } from "../layers/moe.ts";
import { normalization, type NormalizationParams, type NormKind } from "../layers/normalization.ts";
import { importanceLoss } from "../losses/importance.ts";
import { loadLoss } from "../losses/load.ts";
import { noisyTopK, type NoisyTopKParams } from "../routing/noisyTopK.ts";
import type { Router, Routing, TokenRouting } from "../routing/routing.ts";
import type { LanguageModel, LossOptions } from "./model.ts";

/** The mixtures of a transformer: the options of `moe`, but for the widths, which are the transformer's. */
export interface TransformerMoeOptions<P, R extends Routing> extends Omit<
  MoeOptions<P, R, string>,
  "dim" | "hidden" | "router" | "activation"
> {
  /** Experts a token is sent to; needed unless `router` says it. */
  readonly k?: number;
  /**
   * `noisyTopK({ k })` by default, with `importance` and `load` losses of weight 0.1 each, those of Shazeer et al. 2017. With a router of
   * your own, losses are what you give.
   */
  readonly router?: Router<P, R>;
}

export interface TransformerOptions<P = NoisyTopKParams, R extends Routing = TokenRouting> {
  /** V, how many tokens there are. */
  readonly vocab: number;
  /** D. */
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  /** Heads that keys and values have; as many as `heads` by default. */
  readonly kvHeads?: number;
  /** H, the width inside a feed-forward network, and inside each expert. */
  readonly hidden: number;
  /** The longest sequence. */
  readonly context: number;
  /** Mixtures in place of feed-forward networks; null for none. */
  readonly moe: TransformerMoeOptions<P, R> | null;
  /** Every which layer has a mixture, counted from the last: 1, the default, is all of them. */
  readonly moeEvery?: number;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** `rms` by default. */
  readonly norm?: NormKind;
  /** Positions by rotation, true by default or the base of the angles; false for a table of learned positions. */
  readonly rope?: boolean | number;
  /** Whether the table of tokens is also the last matrix; false by default. */
  readonly tie?: boolean;
}

export interface TransformerLayerParams<P> {
  readonly attentionNorm: NormalizationParams;
  readonly attention: AttentionParams;
  readonly norm: NormalizationParams;
  /** Of a layer with a mixture. */
  readonly moe?: MoeParams<P>;
  /** Of a layer without one. */
  readonly feedForward?: FeedForwardParams;
}

export interface TransformerParams<P> {
  readonly embedding: EmbeddingParams;
  /** `[C, D]`, if positions are learned. */
  readonly positions?: Tensor;
  readonly layers: readonly TransformerLayerParams<P>[];
  readonly norm: NormalizationParams;
  /** Unless it is tied to the embedding. */
  readonly head?: LinearParams;
}

export interface TransformerOutput<R extends Routing> {
  /** `[B, S, V]`. */
  readonly logits: Tensor;
  /** One record for each layer with a mixture, over the B·S tokens. */
  readonly routings: readonly R[];
  /** Each auxiliary loss, added up over the layers. */
  readonly losses: { readonly [name: string]: Tensor };
  /** Their sum; 0 if there are none. */
  readonly balance: Tensor;
}

export interface TransformerLoss<R extends Routing> extends Omit<TransformerOutput<R>, "logits"> {
  /** `crossEntropy + balance`. */
  readonly loss: Tensor;
  /** Nats per token. */
  readonly crossEntropy: Tensor;
}

export interface TransformerCache {
  /** `i32[]`: how many positions the layers hold. */
  readonly position: Tensor;
  readonly layers: readonly AttentionCache[];
}

export interface Transformer<P, R extends Routing> extends LanguageModel<
  TransformerParams<P>,
  TransformerLoss<R>,
  TransformerOutput<R>,
  TransformerCache
> {}

/**
 * A decoder-only transformer whose feed-forward networks, all of them or every so many, are mixtures of experts. Norms come
 * before what they are for; the last one comes before the head.
 *
 * At first, embeddings are normal with standard deviation 0.02; weights normal with `1 / sqrt(fan in)`, divided by `sqrt(2 layers)` where a
 * sublayer outside a mixture adds to the stream (as GPT-2 does); the head with `0.1 / sqrt(D)`, so that no token is favoured and the first loss is close to `ln V`.
 *
 * @throws {ConfigError} on a bad option.
 */
export function transformer<P = NoisyTopKParams, R extends Routing = TokenRouting>(
  options: TransformerOptions<P, R>,
): Transformer<P, R> {
  const { vocab, dim, layers, heads, kvHeads, hidden, context, moe, moeEvery, activation, norm, rope, tie } =
    checkTransformer(options);
  const residual = (2 * layers) ** -0.5;
  const tokens = embedding({ vocab, dim, initStd: 0.02 });
  const normal = normalization({ dim, kind: norm });
  const attending = attention({ dim, heads, kvHeads, rope, outStd: residual * dim ** -0.5 });
  const dense = feedForward({ dim, hidden, activation, outStd: residual * hidden ** -0.5 });
  const sparse = moe && mixture({ ...mixtureOptions(moe), dim, hidden, activation });
  const head = linear({ in: dim, out: vocab, bias: false, initStd: 0.1 * dim ** -0.5 });
  const isSparse = (layer: number): boolean => sparse !== null && (layers - 1 - layer) % moeEvery === 0;

  const initLayer = (key: Key, layer: number): TransformerLayerParams<P> => {
    const [attentionKey, innerKey] = random.split(key, 2);
    const common = { attentionNorm: normal.init(), attention: attending.init(attentionKey), norm: normal.init() };
    return isSparse(layer)
      ? { ...common, moe: sparse!.init(innerKey) }
      : { ...common, feedForward: dense.init(innerKey) };
  };
  const init = (key: Key): TransformerParams<P> => {
    const [tokenKey, positionKey, headKey, layersKey] = random.split(key, 4);
    return {
      embedding: tokens.init(tokenKey),
      ...(rope === undefined && { positions: random.normal(positionKey, [context, dim]).mul(0.02) }),
      layers: Array.from({ length: layers }, (_, i) => initLayer(random.fold(layersKey, i), i)),
      norm: normal.init(),
      ...(!tie && { head: head.init(headKey) }),
    };
  };

  /** The model around its attention, which is where a whole sequence and one that goes on differ. */
  const forward = (
    params: TransformerParams<P>,
    ids: Tensor,
    attend: (layer: number, x: Tensor) => Tensor,
    first?: Tensor,
    { train = false, key }: Partial<LossOptions> = {},
  ): TransformerOutput<R> => {
    checkTokens(ids, context);
    const results: { routing: R; losses: { readonly [name: string]: Tensor }; balance: Tensor }[] = [];
    let x = scope("embedding", () => embed(params, ids, first)); // [B, S, D]
    for (const [i, p] of params.layers.entries()) {
      scope(`layers.${i}`, () => {
        x = x.add(scope("attention", () => attend(i, normal.apply(p.attentionNorm, x))));
        const inner = normal.apply(p.norm, x);
        if (p.feedForward) return void (x = x.add(scope("feedForward", () => dense.apply(p.feedForward!, inner))));
        const options = { train, ...(key && { key: random.fold(key, i) }) };
        const result = scope("moe", () => sparse!.apply(p.moe!, inner, options));
        results.push(result);
        x = x.add(result.output);
      });
    }
    const logits = scope("head", () => project(params, normal.apply(params.norm, x)));
    return { logits, routings: results.map((r) => r.routing), ...sumLosses(results, x) };
  };
  const embed = (params: TransformerParams<P>, ids: Tensor, first?: Tensor): Tensor => {
    const x = tokens.apply(params.embedding, ids);
    if (!params.positions) return x;
    const count = iotaLike(x, [ids.shape[1]], 0, "i32");
    return x.add(params.positions.gather(first ? count.add(first) : count, 0));
  };
  const project = (params: TransformerParams<P>, x: Tensor): Tensor =>
    head.apply(params.head ?? { weight: params.embedding.table.transpose() }, x);

  const apply: Transformer<P, R>["apply"] = (params, ids, lossOptions) =>
    forward(params, ids, (i, x) => attending.apply(params.layers[i].attention, x), undefined, lossOptions);

  return {
    context,
    init,
    apply,
    loss(params, batch, lossOptions) {
      const { logits, ...rest } = apply(params, batch.tokens, lossOptions);
      const entropy = crossEntropy(logits, batch.targets);
      return { loss: entropy.add(rest.balance), crossEntropy: entropy, ...rest };
    },
    start: (params, batch) => ({
      position: zeros([], { dtype: "i32" }),
      layers: params.layers.map(() => attending.start(batch, context)),
    }),
    step(params, ids, cache) {
      const next: AttentionCache[] = [];
      const { logits } = forward(
        params,
        ids,
        (i, x) => {
          const { output, cache: grown } = attending.step(
            params.layers[i].attention,
            x,
            cache.layers[i],
            cache.position,
          );
          next.push(grown);
          return output;
        },
        cache.position,
      );
      return { logits, cache: { position: cache.position.add(ids.shape[1]), layers: next } };
    },
  };
}

/** The options of every mixture; the router and losses by default. */
function mixtureOptions<P, R extends Routing>({ k, router, losses, ...rest }: TransformerMoeOptions<P, R>) {
  if (router) return { ...rest, router, losses };
  if (k === undefined) throw new ConfigError("transformer: moe needs k, the experts a token is sent to, or a router");
  return {
    ...rest,
    // No router given, so P and R are those of the default.
    router: noisyTopK({ k }) as Router<unknown> as Router<P, R>,
    losses: losses ?? {
      importance: (routing: R) => importanceLoss(routing, { weight: 0.1 }),
      load: (routing: R) => loadLoss(routing, { weight: 0.1 }),
    },
  };
}

/** The losses of all layers by name, and their sum. */
function sumLosses(
  results: readonly { readonly losses: { readonly [name: string]: Tensor }; readonly balance: Tensor }[],
  x: Tensor,
): { losses: { [name: string]: Tensor }; balance: Tensor } {
  const losses: { [name: string]: Tensor } = {};
  for (const result of results)
    for (const [name, loss] of Object.entries(result.losses)) losses[name] = losses[name]?.add(loss) ?? loss;
  const balance = results.map((r) => r.balance).reduce((sum, b) => sum.add(b), fullLike(x, 0, [], x.dtype));
  return { losses, balance };
}

function checkTokens(ids: Tensor, context: number): void {
  if (ids.dtype !== "i32") throw new DTypeError(`transformer: tokens must be i32 (got ${describe(ids)})`);
  if (ids.ndim !== 2) throw new ShapeError(`transformer: tokens must be [batch, steps] (got ${describe(ids)})`);
  if (ids.shape[1] > context)
    throw new ShapeError(
      `transformer: a sequence has at most ${context} tokens, the context (got ${describe(ids)}); cut it`,
    );
  if (ids.size === 0) throw new ShapeError(`transformer: a batch has at least one token (got ${describe(ids)})`);
}

function checkTransformer<P, R extends Routing>(options: TransformerOptions<P, R>) {
  checkOptions("transformer", options, {
    vocab: positiveInteger,
    dim: positiveInteger,
    layers: positiveInteger,
    heads: positiveInteger,
    kvHeads: positiveInteger,
    hidden: positiveInteger,
    context: positiveInteger,
    moe: { must: "the options of a mixture, or null for none", holds: (value) => typeof value === "object" },
    moeEvery: positiveInteger,
    activation: oneOf("relu", "gelu", "silu", "swiglu"),
    norm: oneOf("layer", "rms"),
    rope: {
      must: "true, false or a positive number",
      holds: (value) => typeof value === "boolean" || (value as number) > 0,
    },
    tie: flag,
  });
  requireOptions("transformer", options, "vocab", "dim", "layers", "heads", "hidden", "context", "moe");
  const {
    kvHeads = options.heads,
    moeEvery = 1,
    activation = "relu",
    norm = "rms",
    tie = false,
    rope = true,
  } = options;
  const base = rope === true ? 10_000 : rope === false ? undefined : rope;
  return { ...options, kvHeads, moeEvery, activation, norm, tie, rope: base } as const;
}
