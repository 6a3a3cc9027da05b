import { argMax, cumsum, random, softmax, topK, where, type Key, type Tensor } from "@switchyard/tensor";
import { nonNegative, positiveInteger, type Rule, type Rules } from "@switchyard/tensor/graph";

export interface SamplingOptions {
  /** What logits are divided by: 1 by default; 0 takes the likeliest token, and needs no key. */
  readonly temperature?: number;
  /** Draw from this many of the likeliest tokens. */
  readonly topK?: number;
  /** Draw from the likeliest tokens that together have this much probability. */
  readonly topP?: number;
  /**
   * Makes tokens of the sequence so far less likely, before anything else: a logit above 0 is divided by it, one below multiplied; 1, the
   * default, does nothing (Keskar et al. 2019, "CTRL").
   */
  readonly repetitionPenalty?: number;
}

const probability: Rule = {
  must: "a number above 0, up to 1",
  holds: (value) => typeof value === "number" && value > 0 && value <= 1,
};

export const samplingRules: Rules<SamplingOptions> = {
  temperature: nonNegative,
  topK: positiveInteger,
  topP: probability,
  repetitionPenalty: { must: "a number of at least 1", holds: (value) => typeof value === "number" && value >= 1 },
};

/**
 * One token drawn from logits.
 *
 * @param logits `[V]`.
 * @param seen `bool[V]`: tokens of the sequence so far, for the penalty.
 * @returns `i32[]`.
 */
export function sampleToken(logits: Tensor, options: SamplingOptions, key?: Key, seen?: Tensor): Tensor {
  const { temperature = 1, repetitionPenalty = 1, ...most } = options;
  if (seen) {
    const repelled = where(logits.gt(0), logits.div(repetitionPenalty), logits.mul(repetitionPenalty));
    logits = where(seen, repelled, logits);
  }
  if (temperature === 0 || !key) return argMax(logits, -1);
  const scaled = logits.div(temperature);
  if (most.topK === undefined && most.topP === undefined) return random.categorical(key, scaled);
  const [vocab] = logits.shape;
  const { values, indices } = topK(scaled, Math.min(most.topK ?? vocab, vocab)); // [k], largest first
  const before = cumsum(softmax(values), 0, { exclusive: true });
  const kept = where(before.lt(most.topP ?? 1), values, -1e30); // the likeliest always: nothing comes before it
  return indices.gather(random.categorical(key, kept));
}
