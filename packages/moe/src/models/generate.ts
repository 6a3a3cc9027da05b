import { ConfigError, random, realize, tensor, type Key, type Tensor } from "@switchyard/tensor";
import { treeLeaves } from "@switchyard/autograd";
import { checkOptions, requireOptions, wholeNumber, type Rule } from "@switchyard/tensor/graph";
import { disposeTree } from "./disposeTree.ts";
import type { LanguageModel } from "./model.ts";
import { sampleToken, samplingRules, type SamplingOptions } from "./sampling.ts";

export interface GenerateOptions extends SamplingOptions {
  /** Token ids to go on from: at least one, at most the context. */
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** The same key draws the same tokens. It lives where the parameters do. */
  readonly key?: Key;
}

export interface GenerateBatchOptions extends Omit<GenerateOptions, "prompt"> {
  /** Sequences to go on from, side by side; they need not be of one length. */
  readonly prompts: readonly (readonly number[])[];
}

const tokenIds: Rule = {
  must: "an array of at least one token id",
  holds: (value) => Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0),
};
const manyTokenIds: Rule = {
  must: "an array of at least one prompt, each an array of at least one token id",
  holds: (value) => Array.isArray(value) && value.length > 0 && value.every((prompt) => tokenIds.holds(prompt)),
};
const aKey: Rule = { must: "a key", holds: (value) => typeof value === "object" };

/**
 * Goes on with a sequence, a token at a time; each is computed from what the model remembers of those before, in one plan. Where the context is
 * full, the last half of the sequence becomes the beginning of a new one, read again in one pass.
 *
 * @throws {ConfigError} at once on a bad option, such as a prompt longer than the context.
 */
export function generate<P>(model: LanguageModel<P>, params: P, options: GenerateOptions): AsyncIterable<number> {
  checkOptions("generate", options, { ...samplingRules, prompt: tokenIds, maxTokens: wholeNumber, key: aKey });
  requireOptions("generate", options, "prompt", "maxTokens");
  const { prompt, key, ...rest } = options;
  checkDraws("generate", model, [prompt], options);
  return only(rowsFrom("generate", model, params, { ...rest, prompts: [prompt], keys: [key] }));
}

/**
 * Goes on with several sequences at once, one token of each at a time. Each is what `generate` makes of its prompt alone, with the key
 * `random.fold(key, row)`. Of prompts of several lengths, the longer ones are read on while the shorter ones are gone on with already.
 *
 * @returns for each step the new token of each row; null for a row that is still being read, or has all its tokens.
 * @throws {ConfigError} at once on a bad option.
 */
export function generateBatch<P>(
  model: LanguageModel<P>,
  params: P,
  options: GenerateBatchOptions,
): AsyncIterable<(number | null)[]> {
  checkOptions("generateBatch", options, {
    ...samplingRules,
    prompts: manyTokenIds,
    maxTokens: wholeNumber,
    key: aKey,
  });
  requireOptions("generateBatch", options, "prompts", "maxTokens");
  const { key, ...rest } = options;
  checkDraws("generateBatch", model, options.prompts, options);
  return rowsFrom("generateBatch", model, params, {
    ...rest,
    keys: options.prompts.map((_, row) => key && random.fold(key, row)),
  });
}

function checkDraws(
  op: string,
  { context }: { readonly context: number },
  prompts: readonly (readonly number[])[],
  { temperature = 1, key }: Pick<GenerateOptions, "temperature" | "key">,
): void {
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  if (longest > context)
    throw new ConfigError(
      `${op}: the prompt has ${longest} tokens but the context is ${context}; give its last ${context}`,
    );
  if (temperature > 0 && !key)
    throw new ConfigError(
      `${op}: drawing tokens needs a key, such as random.key(0); temperature 0 takes the likeliest`,
    );
}

async function* only(rows: AsyncIterable<(number | null)[]>): AsyncGenerator<number> {
  for await (const [id] of rows) yield id!; // one row is never read on, and ends when it has all its tokens
}

interface RowOptions extends Omit<GenerateBatchOptions, "key"> {
  readonly keys: readonly (Key | undefined)[];
}

async function* rowsFrom<P>(
  op: string,
  model: LanguageModel<P>,
  params: P,
  { prompts, maxTokens, keys, ...sampling }: RowOptions,
): AsyncGenerator<(number | null)[]> {
  const shortest = Math.min(...prompts.map((prompt) => prompt.length));
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const rows = prompts.map((prompt) => prompt.slice(0, shortest)); // what each sequence is so far; all are of one length
  let fed = rows.map((row) => row.slice()); // what the model has yet to read
  let held = shortest; // positions of the cache, once it is read
  let cache = model.start(params, rows.length);
  const device = treeLeaves(params)[0]?.device;
  try {
    for (let step = 0; maxTokens > 0 && step < maxTokens + longest - shortest; step++) {
      const tokens = tensor(fed, { dtype: "i32", device });
      const { logits, cache: grown } = model.step(params, tokens, cache);
      if (step === 0) checkIds(op, prompts.flat(), logits.shape[2]);
      const seen = rows.map((row) => seenIn(row, logits, sampling));
      // How many tokens of its own a row has: below 0 while it is still being read.
      const made = rows.map((row, b) => row.length - prompts[b].length);
      const isNew = made.map((count) => count >= 0 && count < maxTokens);
      const draws = rows.map(async (_, b) => {
        if (!isNew[b]) return null;
        const key = keys[b] && random.fold(keys[b], made[b]);
        return sampleToken(logits.slice(b, -1), sampling, key, seen[b]).item();
      });
      const [drawn] = await Promise.all([Promise.all(draws), realize(grown, { donate: [cache, tokens, seen] })]);
      cache = grown;
      yield drawn;
      const next = rows.map((row, b) => prompts[b][row.length] ?? drawn[b] ?? row[0]); // a row with all its tokens is fed anything
      for (const [b, row] of rows.entries()) row.push(next[b]);
      fed = next.map((id) => [id]);
      if (++held > model.context) {
        held = Math.ceil(model.context / 2);
        fed = rows.map((row) => row.slice(-held));
        disposeTree(cache);
        cache = model.start(params, rows.length);
      }
    }
  } finally {
    disposeTree(cache);
  }
}

/** `bool[V]`: which tokens a sequence has; undefined if nothing asks. */
function seenIn(
  row: readonly number[],
  { shape, device }: Tensor,
  { repetitionPenalty = 1 }: SamplingOptions,
): Tensor | undefined {
  if (repetitionPenalty === 1) return undefined;
  const seen = new Uint8Array(shape[2]);
  for (const id of row) seen[id] = 1;
  return tensor(seen, { dtype: "bool", device });
}

/** @throws {ConfigError} for an id that the model has no logit for, which it would read as nothing. */
function checkIds(op: string, ids: readonly number[], vocab: number): void {
  const unknown = ids.find((id) => id >= vocab);
  if (unknown !== undefined)
    throw new ConfigError(`${op}: the prompt has the token ${unknown} but the model knows 0 to ${vocab - 1}`);
}
