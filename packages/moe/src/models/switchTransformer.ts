import { crossEntropy, random, softmax, where, type Key, type Tensor } from "@switchyard/tensor";
import { checkOptions, flag, fraction, iotaLike, nonNegative, positiveInteger } from "@switchyard/tensor/graph";
import { combine, dispatch } from "../dispatch/dispatch.ts";
import { embedding, type EmbeddingParams } from "../layers/embedding.ts";
import { experts as expertNetworks, type ExpertsParams } from "../layers/experts.ts";
import { feedForward, type FeedForwardParams } from "../layers/feedForward.ts";
import { linear, type LinearParams } from "../layers/linear.ts";
import { normalization, type NormalizationParams } from "../layers/normalization.ts";
import type { GateParams } from "../routing/gate.ts";
import { withDropped } from "../routing/makeRouting.ts";
import type { LogitRouting, RouteOptions } from "../routing/routing.ts";
import { switchTop1 } from "../routing/switchTop1.ts";
import type { LossOptions, Model } from "./model.ts";
import { keepsF32, wide } from "./precision.ts";
import { relativeBias } from "./relativeBias.ts";

export interface SwitchTransformerOptions {
  readonly vocab: number;
  /** D. */
  readonly dim: number;
  readonly heads: number;
  /** The width of a head, which need not divide D. */
  readonly headDim: number;
  /** Inside a feed-forward network, and inside an expert. */
  readonly hidden: number;
  readonly experts: number;
  /** Tokens of a sequence that an expert has room for; the others keep what they were. */
  readonly capacity: number;
  readonly encoderLayers: number;
  readonly decoderLayers: number;
  /** Every which layer has experts, from the second of each run on; 1 is all of them. */
  readonly encoderSparseEvery: number;
  readonly decoderSparseEvery: number;
  /** Distances that attention tells apart, and the farthest of them. */
  readonly buckets: number;
  readonly maxDistance: number;
  readonly normEps: number;
  /** In training, see `switchTop1`. */
  readonly jitter: number;
  /** Whether the table of tokens is also the last matrix, its logits then scaled by `1 / sqrt(D)`. */
  readonly tie: boolean;
}

interface AttentionParams {
  readonly query: LinearParams;
  readonly key: LinearParams;
  readonly value: LinearParams;
  readonly out: LinearParams;
}

interface LayerParams {
  readonly attentionNorm: NormalizationParams;
  readonly attention: AttentionParams;
  /** Of the decoder: attention to what the encoder made. */
  readonly crossNorm?: NormalizationParams;
  readonly cross?: AttentionParams;
  readonly norm: NormalizationParams;
  readonly feedForward?: FeedForwardParams;
  readonly moe?: { readonly router: GateParams; readonly experts: ExpertsParams };
}

interface StackParams {
  /** `[buckets, heads]`, for all layers. */
  readonly bias: EmbeddingParams;
  readonly layers: readonly LayerParams[];
  readonly norm: NormalizationParams;
}

export interface SwitchTransformerParams {
  readonly embedding: EmbeddingParams;
  readonly encoder: StackParams;
  readonly decoder: StackParams;
  /** Unless it is tied. */
  readonly head?: LinearParams;
}

export interface SequencePair {
  /** `i32[B, S]`: what the encoder reads. */
  readonly inputs: Tensor;
  /** `i32[B, T]`: what the decoder has so far. */
  readonly decoded: Tensor;
}

export interface SwitchTransformer extends Model<
  SwitchTransformerParams,
  SequencePair & { readonly targets: Tensor },
  { readonly loss: Tensor; readonly routings: readonly LogitRouting[] }
> {
  /** `logits [B, T, V]`, and a record for each layer with experts, the encoder's first. */
  apply(
    params: SwitchTransformerParams,
    pair: SequencePair,
    options?: Partial<LossOptions>,
  ): { readonly logits: Tensor; readonly routings: readonly LogitRouting[] };
}

/**
 * The encoder and decoder of Switch Transformers (Fedus et al. 2021): T5 (Raffel et al. 2020), with the feed-forward network of every so
 * many layers replaced by a mixture in which each token goes to one expert. Attention knows distances, not positions, and does not scale
 * its scores. Losses that balance are the user's to add, from the routings.
 *
 * @throws {ConfigError} on a bad option.
 */
export function switchTransformer(options: SwitchTransformerOptions): SwitchTransformer {
  checkOptions("switchTransformer", options, rules);
  const { vocab, dim, buckets, maxDistance, heads, normEps, tie } = options;
  const tokens = embedding({ vocab, dim });
  const head = linear({ in: dim, out: vocab, bias: false });
  const normal = normalization({ dim, eps: normEps });
  const distances = embedding({ vocab: buckets, dim: heads, initStd: dim ** -0.5 });
  const encoder = sparseLayers(options.encoderLayers, options.encoderSparseEvery).map((s) => layer(options, s, false));
  const decoder = sparseLayers(options.decoderLayers, options.decoderSparseEvery).map((s) => layer(options, s, true));

  const initStack = (layers: readonly Layer[], key: Key): StackParams => ({
    bias: distances.init(random.fold(key, 0)),
    layers: layers.map((one, i) => one.init(random.fold(key, i + 1))),
    norm: normal.init(),
  });
  const run = (layers: readonly Layer[], params: StackParams, x: Tensor, context: LayerContext): Tensor => {
    for (const [i, one] of layers.entries()) x = one.apply(params.layers[i], x, context, i);
    return normal.apply(params.norm, x);
  };
  const apply: SwitchTransformer["apply"] = (params, { inputs, decoded }, lossOptions = {}) => {
    const routings: LogitRouting[] = [];
    const biasOf = (stack: StackParams, steps: number, bidirectional: boolean): Tensor =>
      relativeBias(stack.bias.table, steps, steps, { buckets, maxDistance, bidirectional });
    const [read, written] = [inputs.shape[1], decoded.shape[1]];
    const memory = run(encoder, params.encoder, tokens.apply(params.embedding, inputs), {
      bias: biasOf(params.encoder, read, true),
      lossOptions: keyed(lossOptions, 0),
      routings,
    });
    const y = run(decoder, params.decoder, tokens.apply(params.embedding, decoded), {
      bias: biasOf(params.decoder, written, false),
      causal: true,
      memory,
      lossOptions: keyed(lossOptions, 1),
      routings,
    });
    const logits = tie
      ? head.apply({ weight: params.embedding.table.transpose() }, y.mul(dim ** -0.5))
      : head.apply(params.head!, y);
    return { logits, routings };
  };

  return {
    keepsF32,
    init(key) {
      const [tokenKey, encoderKey, decoderKey, headKey] = random.split(key, 4);
      return {
        embedding: tokens.init(tokenKey),
        encoder: initStack(encoder, encoderKey),
        decoder: initStack(decoder, decoderKey),
        ...(!tie && { head: head.init(headKey) }),
      };
    },
    apply,
    loss(params, batch, lossOptions) {
      const { logits, routings } = apply(params, batch, lossOptions);
      return { loss: crossEntropy(wide(logits), batch.targets), routings };
    },
  };
}

const rules = {
  vocab: positiveInteger,
  dim: positiveInteger,
  heads: positiveInteger,
  headDim: positiveInteger,
  hidden: positiveInteger,
  experts: positiveInteger,
  capacity: positiveInteger,
  encoderLayers: positiveInteger,
  decoderLayers: positiveInteger,
  encoderSparseEvery: positiveInteger,
  decoderSparseEvery: positiveInteger,
  buckets: positiveInteger,
  maxDistance: positiveInteger,
  normEps: nonNegative,
  jitter: fraction,
  tie: flag,
};

/** For each layer whether it has experts: the second of every so many. */
const sparseLayers = (count: number, every: number): boolean[] =>
  Array.from({ length: count }, (_, i) => every === 1 || i % every === 1);

const keyed = ({ train = false, key }: Partial<LossOptions>, part: number): RouteOptions => ({
  train,
  ...(key && { key: random.fold(key, part) }),
});

/** What the layers of a stack share. */
interface LayerContext {
  readonly bias: Tensor;
  readonly causal?: boolean;
  /** `[B, S, D]`: what the encoder made. */
  readonly memory?: Tensor;
  readonly lossOptions: RouteOptions;
  /** Where each mixture puts its record. */
  readonly routings: LogitRouting[];
}

interface Layer {
  init(key: Key): LayerParams;
  apply(params: LayerParams, x: Tensor, context: LayerContext, index: number): Tensor;
}

function layer(options: SwitchTransformerOptions, isSparse: boolean, isDecoder: boolean): Layer {
  const { dim, hidden, experts, normEps, jitter, capacity } = options;
  const normal = normalization({ dim, eps: normEps });
  const attending = biasedAttention(options);
  const dense = feedForward({ dim, hidden, bias: false });
  const networks = expertNetworks({ dim, hidden, experts, bias: false });
  const router = switchTop1({ jitter });

  const mixture = (params: NonNullable<LayerParams["moe"]>, x: Tensor, routeOptions: RouteOptions) => {
    const rows = x.reshape([-1, dim]); // [B·S, D]
    const decided = router.route(params.router, rows.cast(params.router.gate.dtype), routeOptions);
    const routing = withSequenceCapacity(decided, x.shape[1], capacity);
    const output = combine(networks.apply(params.experts, dispatch(rows, routing), routing), routing);
    return { routing, output: output.reshape(x.shape) };
  };
  return {
    init(key) {
      const [self, cross, gate, inner] = random.split(key, 4);
      return {
        attentionNorm: normal.init(),
        attention: attending.init(self),
        ...(isDecoder && { crossNorm: normal.init(), cross: attending.init(cross) }),
        norm: normal.init(),
        ...(isSparse
          ? { moe: { router: router.init(gate, { dim, experts }), experts: networks.init(inner) } }
          : { feedForward: dense.init(inner) }),
      };
    },
    apply(params, x, { bias, causal = false, memory, lossOptions, routings }, index) {
      const inner = normal.apply(params.attentionNorm, x);
      x = x.add(attending.apply(params.attention, inner, inner, { bias, causal }));
      if (memory)
        x = x.add(attending.apply(params.cross!, normal.apply(params.crossNorm!, x), memory, { causal: false }));
      const last = normal.apply(params.norm, x);
      if (!params.moe) return x.add(dense.apply(params.feedForward!, last));
      const { key } = lossOptions;
      const { output, routing } = mixture(params.moe, last, {
        ...lossOptions,
        ...(key && { key: random.fold(key, index) }),
      });
      routings.push(routing);
      return x.add(output);
    },
  };
}

/** Attention whose scores are not scaled but shifted, by `bias [heads, S, T]`. */
function biasedAttention({ dim, heads, headDim }: SwitchTransformerOptions) {
  const project = linear({ in: dim, out: heads * headDim, bias: false });
  const out = linear({ in: heads * headDim, out: dim, bias: false });
  const split = (x: Tensor): Tensor => x.reshape([...x.shape.slice(0, 2), heads, headDim]).transpose(1, 2);
  return {
    init(key: Key): AttentionParams {
      const [q, k, v, o] = random.split(key, 4);
      return { query: project.init(q), key: project.init(k), value: project.init(v), out: out.init(o) };
    },
    apply(p: AttentionParams, x: Tensor, from: Tensor, { bias, causal }: { bias?: Tensor; causal: boolean }): Tensor {
      const [q, k, v] = [project.apply(p.query, x), project.apply(p.key, from), project.apply(p.value, from)].map(
        split,
      );
      let scores = q.matmul(k.transpose(-1, -2)); // [B, heads, S, T]
      if (bias) scores = scores.add(bias);
      if (causal) scores = where(upTo(scores), scores, -1e30);
      const heard = softmax(scores, -1).matmul(v).transpose(1, 2); // [B, S, heads, headDim]
      return out.apply(p.out, heard.reshape([x.shape[0], x.shape[1], heads * headDim]));
    },
  };
}

/** `bool[S, S]`: true where a query may see a key, itself and those before it. */
function upTo(scores: Tensor): Tensor {
  const steps = scores.shape.at(-1)!;
  return iotaLike(scores, [1, steps], 1, "i32").le(iotaLike(scores, [steps, 1], 0, "i32"));
}

/** The record in which, of the tokens of a sequence, an expert sees no more than its capacity, the first ones. */
function withSequenceCapacity(routing: LogitRouting, steps: number, capacity: number): LogitRouting {
  const { experts, logits } = routing;
  const count = logits.shape[1];
  const chosen = iotaLike(experts, [1, count], 1, "i32").eq(experts).cast("i32").reshape([-1, steps, count]);
  const place = chosen.cumsum(1).mul(chosen).sum(-1); // [B, S], from 1
  return withDropped(routing, place.gt(capacity).reshape(experts.shape));
}
