import { ConfigError, crossEntropy, DTypeError, random, scope, ShapeError, type Tensor } from "@switchyard/tensor";
import {
  checkOptions,
  describe,
  flag,
  fullLike,
  inWords,
  isTensor,
  iotaLike,
  nonNegative,
  oneOf,
  positiveInteger,
  positiveNumber,
  requireOptions,
  wholeNumber,
} from "@switchyard/tensor/graph";
import type { AttentionCache } from "../layers/attention.ts";
import { embedding, type EmbeddingParams } from "../layers/embedding.ts";
import { activationRule, type Activation } from "../layers/experts.ts";
import { linear, type LinearParams } from "../layers/linear.ts";
import type { MoeOptions, MoeResult } from "../layers/moe.ts";
import { normalization, type NormalizationParams, type NormKind } from "../layers/normalization.ts";
import { importanceLoss } from "../losses/importance.ts";
import { loadLoss } from "../losses/load.ts";
import { noisyTopK, type NoisyTopKParams } from "../routing/noisyTopK.ts";
import type { LogitRouting, Router, Routing } from "../routing/routing.ts";
import { block, type BlockParams } from "./block.ts";
import type { LanguageModel, LossOptions } from "./model.ts";
import { keepsF32, wide } from "./precision.ts";

/** The mixtures of a transformer: the options of `moe`, but for what the transformer says. */
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
  /** The width inside an expert; that of the dense networks by default. */
  readonly hidden?: number;
}

export interface TransformerOptions<P = NoisyTopKParams, R extends Routing = LogitRouting> {
  /** V, how many tokens there are. */
  readonly vocab: number;
  /** D. */
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  /** Heads that keys and values have; as many as `heads` by default. */
  readonly kvHeads?: number;
  /** H, the width inside a feed-forward network, and inside each expert unless `moe` says another. */
  readonly hidden: number;
  /** The longest sequence. */
  readonly context: number;
  /** Mixtures in place of feed-forward networks; null for none. */
  readonly moe: TransformerMoeOptions<P, R> | null;
  /** Every which layer has a mixture, counted from the last: 1, the default, is all of them. */
  readonly moeEvery?: number;
  /** How many of the first layers have none, whatever `moeEvery` is, as in DeepSeek-V3; 0 by default. */
  readonly denseLayers?: number;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** `rms` by default. */
  readonly norm?: NormKind;
  /** What norms add to the variance, or to the mean square; 1e-5 by default. */
  readonly normEps?: number;
  /** Whether attention brings queries and keys to one scale, as in OLMoE; false by default. */
  readonly qkNorm?: boolean;
  /** Positions by rotation, true by default or the base of the angles; false for a table of learned positions. */
  readonly rope?: boolean | number;
  /** Whether the table of tokens is also the last matrix; false by default. */
  readonly tie?: boolean;
}

export interface TransformerParams<P> {
  readonly embedding: EmbeddingParams;
  /** `[C, D]`, if positions are learned. */
  readonly positions?: Tensor;
  readonly layers: readonly BlockParams<P>[];
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
export function transformer<P = NoisyTopKParams, R extends Routing = LogitRouting>(
  options: TransformerOptions<P, R>,
): Transformer<P, R> {
  const { vocab, dim, layers, context, moe, moeEvery, denseLayers, norm, normEps, rope, tie, ...sizes } =
    checkTransformer(options);
  const tokens = embedding({ vocab, dim, initStd: 0.02 });
  const mixtures = moe && mixtureOptions(moe);
  warnOfLeak(moe?.router);
  const blocks = Array.from({ length: layers }, (_, i) => {
    const isSparse = i >= denseLayers && (layers - 1 - i) % moeEvery === 0;
    return block({
      ...sizes,
      dim,
      norm,
      normEps,
      rope,
      moe: isSparse ? mixtures : null,
      residual: (2 * layers) ** -0.5,
    });
  });
  const last = normalization({ dim, kind: norm, eps: normEps });
  const head = linear({ in: dim, out: vocab, bias: false, initStd: 0.1 * dim ** -0.5 });

  const embed = (params: TransformerParams<P>, ids: Tensor, first?: Tensor): Tensor => {
    const x = tokens.apply(params.embedding, ids);
    if (!params.positions) return x;
    const count = iotaLike(x, [ids.shape[1]], 0, "i32");
    return x.add(params.positions.gather(first ? count.add(first) : count, 0));
  };
  /** The whole model, over sequences from their beginning or, with a cache, as they go on. */
  const forward = (
    params: TransformerParams<P>,
    ids: Tensor,
    lossOptions: Partial<LossOptions>,
    cache?: TransformerCache,
  ) => {
    checkTokens(ids, context);
    const caches: AttentionCache[] = [];
    const results: MoeResult<R, string>[] = [];
    let x = scope("embedding", () => embed(params, ids, cache?.position)); // [B, S, D]
    for (const [i, layer] of params.layers.entries()) {
      const past = cache && { cache: cache.layers[i], position: cache.position };
      const made = scope(`layers.${i}`, () =>
        blocks[i].apply(layer, x, { ...atLayer(lossOptions, i), tokenIds: ids }, past),
      );
      x = made.x;
      if (made.cache) caches.push(made.cache);
      if (made.mixture) results.push(made.mixture);
    }
    const logits = scope("head", () =>
      head.apply(params.head ?? { weight: params.embedding.table.transpose() }, last.apply(params.norm, x)),
    );
    return { output: { logits, routings: results.map((r) => r.routing), ...sumLosses(results, x) }, caches };
  };

  return {
    context,
    keepsF32,
    init(key) {
      const [tokenKey, positionKey, headKey, layersKey] = random.split(key, 4);
      return {
        embedding: tokens.init(tokenKey),
        ...(rope === undefined && { positions: random.normal(positionKey, [context, dim]).mul(0.02) }),
        layers: blocks.map((layer, i) => layer.init(random.fold(layersKey, i))),
        norm: last.init(),
        ...(!tie && { head: head.init(headKey) }),
      };
    },
    apply: (params, ids, lossOptions = {}) => forward(params, ids, lossOptions).output,
    loss(params, batch, lossOptions) {
      const { logits, ...rest } = forward(params, batch.tokens, lossOptions).output;
      const entropy = crossEntropy(wide(logits), batch.targets);
      return { loss: entropy.add(rest.balance), crossEntropy: entropy, ...rest };
    },
    start: (params, batch) => ({
      position: fullLike(params.embedding.table, 0, [], "i32"),
      layers: blocks.map((layer, i) => layer.start(params.layers[i], batch, context)),
    }),
    step(params, ids, cache) {
      const { output, caches } = forward(params, ids, {}, cache);
      return { logits: output.logits, cache: { position: cache.position.add(ids.shape[1]), layers: caches } };
    },
  };
}

/** Each layer draws numbers of its own. */
const atLayer = ({ train = false, key }: Partial<LossOptions>, layer: number): Partial<LossOptions> => ({
  train,
  ...(key && { key: random.fold(key, layer) }),
});

/** In a decoder, a router that looks ahead learns from tokens that are not there when it writes. */
function warnOfLeak<P, R extends Routing>(router: Router<P, R> | undefined): void {
  if (router?.looksAhead)
    console.warn(
      "transformer: the router lets later tokens decide on earlier ones, so that training leaks the future and generation will be worse than the loss says; route by token, for example with softmaxTopK",
    );
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
  const balance = results.map((r) => r.balance).reduce((sum, b) => sum.add(wide(b)), wide(fullLike(x, 0, [], x.dtype)));
  return { losses, balance };
}

function checkTokens(ids: Tensor, context: number): void {
  if (!isTensor("transformer", ids))
    throw new ConfigError(`transformer: tokens must be i32[batch, steps], got ${inWords(ids)}`);
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
    denseLayers: wholeNumber,
    activation: activationRule,
    norm: oneOf("layer", "rms"),
    normEps: nonNegative,
    qkNorm: flag,
    rope: {
      must: "true, false or a positive number",
      holds: (value) => typeof value === "boolean" || positiveNumber.holds(value),
    },
    tie: flag,
  });
  requireOptions("transformer", options, "vocab", "dim", "layers", "heads", "hidden", "context", "moe");
  const {
    kvHeads = options.heads,
    moeEvery = 1,
    denseLayers = 0,
    activation = "relu",
    norm = "rms",
    normEps = 1e-5,
    qkNorm = false,
    tie = false,
    rope = true,
  } = options;
  const base = rope === true ? 10_000 : rope === false ? undefined : rope;
  return { ...options, kvHeads, moeEvery, denseLayers, activation, norm, normEps, qkNorm, tie, rope: base } as const;
}
