import { ConfigError, topK, type Tensor } from "@switchyard/tensor";
import { checkOptions, finiteNumber, fullLike, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { place } from "../routing/choose.ts";
import type { Routing } from "../routing/routing.ts";
import { onlyReal } from "./overTokens.ts";

export interface SequenceBalanceLossOptions {
  /** Tokens in a sequence; divides the tokens of the record, which are sequences one after the other. */
  readonly sequence: number;
  /** 1 by default; DeepSeek-V3 uses 1e-4. */
  readonly weight?: number;
}

/**
 * `weight · mean over sequences of Σ_i f_i P_i`: `f_i = E / (k n) Σ_t 1[i in the top k of token t's probabilities]`, a constant to
 * gradients, and `P_i` the mean probability, over the n real tokens of each sequence. 1 when balanced. The top k are those of the
 * probabilities: no selection bias, group or noise. A sequence without real tokens counts for nothing.
 *
 * Source: DeepSeek-AI 2024, "DeepSeek-V3", equations 17 to 20.
 *
 * @returns a scalar, differentiable through the probabilities.
 * @throws {ConfigError} if the sequences do not divide the tokens, or where experts choose tokens.
 */
export function sequenceBalanceLoss(routing: Routing, options: SequenceBalanceLossOptions): Tensor {
  checkOptions("sequenceBalanceLoss", options, { sequence: positiveInteger, weight: finiteNumber });
  requireOptions("sequenceBalanceLoss", options, "sequence");
  const { sequence, weight = 1 } = options;
  const { experts: choices, probs, mask } = routing;
  const [tokens, experts] = probs.shape;
  if (!choices) throw new ConfigError("sequenceBalanceLoss: needs a router whose tokens choose experts");
  if (tokens % sequence !== 0)
    throw new ConfigError(`sequenceBalanceLoss: sequences of ${sequence} tokens do not divide ${tokens} tokens`);
  const k = choices.shape[1];
  const best = topK(probs, k).indices;
  const chosen = place(fullLike(probs, 1, best.shape, probs.dtype), best, experts); // [T, E]
  const bySequence = (x: Tensor): Tensor =>
    onlyReal(x, mask)
      .reshape([tokens / sequence, sequence, experts])
      .sum(1); // [B, E]
  const real = mask
    ? mask
        .cast(probs.dtype)
        .reshape([tokens / sequence, sequence])
        .sum(1)
    : fullLike(probs, sequence, [tokens / sequence], probs.dtype); // [B]
  const products = bySequence(chosen).mul(bySequence(probs)).sum(1); // [B]
  const losses = products.div(real.maximum(1).square()); // 0 where nothing is real
  const counted = real.gt(0).cast(probs.dtype).sum().maximum(1);
  return losses
    .sum()
    .div(counted)
    .mul((weight * experts) / k);
}
