import {
  crossEntropy,
  dropout,
  DTypeError,
  random,
  scope,
  ShapeError,
  type Key,
  type Tensor,
} from "@switchyard/tensor";
import { checkOptions, describe, fraction, fullLike, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { embedding, type EmbeddingParams } from "../layers/embedding.ts";
import { linear, type LinearParams } from "../layers/linear.ts";
import { lstm, type LstmParams, type LstmState } from "../layers/lstm.ts";
import { moe, type MoeParams } from "../layers/moe.ts";
import { importanceLoss } from "../losses/importance.ts";
import { loadLoss } from "../losses/load.ts";
import { drawingKey } from "../routing/gate.ts";
import { noisyTopK, type NoisyTopKParams } from "../routing/noisyTopK.ts";
import type { LogitRouting } from "../routing/routing.ts";
import type { LanguageModel, LossOptions } from "./model.ts";
import { keepsF32, wide } from "./precision.ts";

export interface LstmMoeOptions {
  /** V, how many tokens there are. */
  readonly vocab: number;
  /** D, the width of everything outside the experts. */
  readonly dim: number;
  /** H, the width inside an expert. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  /** Experts a token is sent to. */
  readonly k: number;
  /** The share of each layer's values that dropout zeroes in training; 0 by default. */
  readonly dropout?: number;
}

export interface LstmMoeParams {
  readonly embedding: EmbeddingParams;
  readonly first: LstmParams;
  readonly mixture: MoeParams<NoisyTopKParams>;
  readonly second: LstmParams;
  readonly head: LinearParams;
}

export interface LstmMoeOutput {
  /** `[B, S, V]`. */
  readonly logits: Tensor;
  /** Of the one mixture, over the B·S tokens. */
  readonly routings: readonly LogitRouting[];
  readonly losses: { readonly importance: Tensor; readonly load: Tensor };
  /** Their sum. */
  readonly balance: Tensor;
}

export interface LstmMoeLoss extends Omit<LstmMoeOutput, "logits"> {
  /** `crossEntropy + balance`. */
  readonly loss: Tensor;
  /** Nats per token. */
  readonly crossEntropy: Tensor;
}

/** What the two LSTMs carry from step to step. */
export interface LstmMoeCache {
  readonly first: LstmState;
  readonly second: LstmState;
}

export interface LstmMoe extends LanguageModel<LstmMoeParams, LstmMoeLoss, LstmMoeOutput, LstmMoeCache> {}

/**
 * Embedding, LSTM, mixture, LSTM, softmax. The one mixture sees all time steps as one batch of tokens; its output goes through a
 * sigmoid. Dropout, then the layer's input added, follow each LSTM and the mixture. Noisy top-k, importance and load losses of weight 0.1
 * each. It has no longest sequence.
 *
 * Source: Shazeer et al. 2017, appendix C.1.
 *
 * @throws {ConfigError} on a bad option.
 */
export function lstmMoe(options: LstmMoeOptions): LstmMoe {
  checkOptions("lstmMoe", options, {
    vocab: positiveInteger,
    dim: positiveInteger,
    hidden: positiveInteger,
    experts: positiveInteger,
    k: positiveInteger,
    dropout: fraction,
  });
  requireOptions("lstmMoe", options, "vocab", "dim", "hidden", "experts", "k");
  const { vocab, dim, hidden, experts, k, dropout: rate = 0 } = options;
  const tokens = embedding({ vocab, dim });
  const recurrent = lstm({ in: dim, hidden: dim });
  const head = linear({ in: dim, out: vocab });
  const mixture = moe({
    dim,
    hidden,
    experts,
    router: noisyTopK({ k }),
    losses: { importance: (r) => importanceLoss(r, { weight: 0.1 }), load: (r) => loadLoss(r, { weight: 0.1 }) },
  });

  const forward = (params: LstmMoeParams, ids: Tensor, given: Partial<LossOptions>, cache: LstmMoeCache) => {
    checkTokens(ids);
    /** What a layer adds to what it was given. */
    const added = (x: Tensor, layer: Tensor, place: number): Tensor => x.add(dropped(layer, rate, given, place));
    const x = scope("embedding", () => tokens.apply(params.embedding, ids)); // [B, S, D]
    const first = scope("first", () => recurrent.step(params.first, x, cache.first));
    const heard = added(x, first.output, 1);
    const { train, key } = given;
    const mixed = scope("mixture", () => mixture.apply(params.mixture, heard, { train, key, tokenIds: ids }));
    const said = added(heard, mixed.output.sigmoid(), 2);
    const second = scope("second", () => recurrent.step(params.second, said, cache.second));
    const logits = scope("head", () => head.apply(params.head, added(said, second.output, 3)));
    const { routing, losses, balance } = mixed;
    const output: LstmMoeOutput = { logits, routings: [routing], losses, balance };
    return { output, cache: { first: first.state, second: second.state } };
  };
  const start: LstmMoe["start"] = ({ head: { weight } }, batch) => {
    const zero = fullLike(weight, 0, [batch, dim], weight.dtype);
    return { first: { h: zero, c: zero }, second: { h: zero, c: zero } };
  };
  const whole = (params: LstmMoeParams, ids: Tensor, given: Partial<LossOptions>): LstmMoeOutput =>
    forward(params, ids, given, start(params, ids.shape[0])).output;

  return {
    context: Infinity,
    keepsF32,
    init(key) {
      const [embeddingKey, firstKey, mixtureKey, secondKey, headKey] = random.split(key, 5);
      return {
        embedding: tokens.init(embeddingKey),
        first: recurrent.init(firstKey),
        mixture: mixture.init(mixtureKey),
        second: recurrent.init(secondKey),
        head: head.init(headKey),
      };
    },
    apply: (params, ids, given = {}) => whole(params, ids, given),
    loss(params, batch, given) {
      const { logits, ...rest } = whole(params, batch.tokens, given);
      const entropy = crossEntropy(wide(logits), batch.targets);
      return { loss: entropy.add(rest.balance), crossEntropy: entropy, ...rest };
    },
    start,
    step(params, ids, cache) {
      const { output, cache: next } = forward(params, ids, {}, cache);
      return { logits: output.logits, cache: next };
    },
  };
}

/** Dropout in training, each layer's draw its own. */
function dropped(x: Tensor, rate: number, options: { train?: boolean; key?: Key }, place: number): Tensor {
  if (rate === 0 || !options.train) return x;
  return dropout(random.fold(drawingKey("lstmMoe", "dropout is drawn in training and needs", options), place), x, rate);
}

function checkTokens(ids: Tensor): void {
  if (ids.dtype !== "i32") throw new DTypeError(`lstmMoe: tokens must be i32 (got ${describe(ids)})`);
  if (ids.ndim !== 2 || ids.size === 0)
    throw new ShapeError(`lstmMoe: tokens must be [batch, steps], one at least (got ${describe(ids)})`);
}
