import {
  argMax,
  cumsum,
  ConfigError,
  random,
  realize,
  softmax,
  tensor,
  topK,
  where,
  type Key,
  type Tensor,
} from "@switchyard/tensor";
import {
  checkOptions,
  nonNegative,
  positiveInteger,
  requireOptions,
  wholeNumber,
  type Rule,
} from "@switchyard/tensor/graph";
import type { LanguageModel } from "./model.ts";

export interface SamplingOptions {
  /** What logits are divided by: 1 by default; 0 takes the likeliest token, and needs no key. */
  readonly temperature?: number;
  /** Draw from this many of the likeliest tokens. */
  readonly topK?: number;
  /** Draw from the likeliest tokens that together have this much probability. */
  readonly topP?: number;
}

export interface GenerateOptions extends SamplingOptions {
  /** Token ids to go on from: at least one, at most the context. */
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** The same key draws the same tokens. */
  readonly key?: Key;
}

const probability: Rule = {
  must: "a number above 0, up to 1",
  holds: (value) => typeof value === "number" && value > 0 && value <= 1,
};
const tokenIds: Rule = {
  must: "an array of at least one token id",
  holds: (value) => Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0),
};

/**
 * Goes on with a sequence, a token at a time; each is computed from what the model remembers of those before, in one plan. Where the context is
 * full, the last half of the sequence becomes the beginning of a new one, read again in one pass.
 *
 * @throws {ConfigError} at once on a bad option, such as a prompt longer than the context.
 */
export function generate<P>(model: LanguageModel<P>, params: P, options: GenerateOptions): AsyncIterable<number> {
  checkOptions("generate", options, {
    prompt: tokenIds,
    maxTokens: wholeNumber,
    temperature: nonNegative,
    topK: positiveInteger,
    topP: probability,
    key: { must: "a key", holds: (value) => typeof value === "object" },
  });
  requireOptions("generate", options, "prompt", "maxTokens");
  const { prompt, temperature = 1, key } = options;
  if (prompt.length > model.context)
    throw new ConfigError(
      `generate: the prompt has ${prompt.length} tokens but the context is ${model.context}; give its last ${model.context}`,
    );
  if (temperature > 0 && !key)
    throw new ConfigError(
      "generate: drawing tokens needs a key, such as random.key(0); temperature 0 takes the likeliest",
    );
  return tokensFrom(model, params, options);
}

async function* tokensFrom<P>(
  model: LanguageModel<P>,
  params: P,
  { prompt, maxTokens, key, ...sampling }: GenerateOptions,
): AsyncGenerator<number> {
  let window = [...prompt];
  let fed = window; // what the model has yet to read
  let cache = model.start(params, 1);
  try {
    for (let i = 0; i < maxTokens; i++) {
      const tokens = tensor([fed], { dtype: "i32" });
      const { logits, cache: grown } = model.step(params, tokens, cache);
      if (i === 0) checkIds(prompt, logits.shape[2]);
      const last = logits.slice(0, -1); // [V]
      const token = sampleToken(last, sampling, key && random.fold(key, i));
      const [id] = await Promise.all([token.item(), realize(grown, { donate: [cache, tokens] })]);
      cache = grown;
      yield id;
      window.push(id);
      fed = [id];
      if (window.length > model.context) {
        fed = window = window.slice(-Math.ceil(model.context / 2));
        await realize([], { donate: cache });
        cache = model.start(params, 1);
      }
    }
  } finally {
    await realize([], { donate: cache });
  }
}

/** @throws {ConfigError} for an id that the model has no logit for, which it would read as nothing. */
function checkIds(ids: readonly number[], vocab: number): void {
  const unknown = ids.find((id) => id >= vocab);
  if (unknown !== undefined)
    throw new ConfigError(`generate: the prompt has the token ${unknown} but the model knows 0 to ${vocab - 1}`);
}

/**
 * One token drawn from logits.
 *
 * @param logits `[V]`.
 * @returns `i32[]`.
 */
export function sampleToken(logits: Tensor, { temperature = 1, ...most }: SamplingOptions, key?: Key): Tensor {
  if (temperature === 0 || !key) return argMax(logits);
  const scaled = logits.div(temperature);
  if (most.topK === undefined && most.topP === undefined) return random.categorical(key, scaled);
  const [vocab] = logits.shape;
  const { values, indices } = topK(scaled, Math.min(most.topK ?? vocab, vocab)); // [k], largest first
  const before = cumsum(softmax(values), 0, { exclusive: true });
  const kept = where(before.lt(most.topP ?? 1), values, -1e30); // the likeliest always: nothing comes before it
  return indices.gather(random.categorical(key, kept));
}
