import { crossEntropy, type Tensor } from "@switchyard/tensor";
import type { LanguageModel } from "../models/model.ts";
import type { successiveBatches } from "./batches.ts";

/** How well a model foretells a text, token by token. */
export interface TextScores {
  /** Nats per token. */
  readonly crossEntropy: number;
  /** `exp(crossEntropy)`: among how many equally likely tokens it might as well have to choose. */
  readonly perplexity: number;
  /** The share of tokens that it holds for the likeliest. */
  readonly accuracy: number;
  /** Bits for each byte of the text in UTF-8, which compares models of different tokenizers. */
  readonly bitsPerByte: number;
  /** Tokens foretold. */
  readonly tokens: number;
}

/**
 * Scores of a model on a text.
 *
 * @param batches its sequences; at least one.
 * @param bytesOf how many bytes of text some tokens stand for.
 */
export async function judgeText<P>(
  model: Pick<LanguageModel<P>, "apply">,
  params: P,
  { count, at }: ReturnType<typeof successiveBatches>,
  bytesOf: (ids: Int32Array) => number,
): Promise<TextScores> {
  let [nats, right, bytes, tokens] = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const batch = at(i);
    const { logits } = model.apply(params, batch.tokens); // [B, S, V]
    const hits: Tensor = logits.argMax(-1).eq(batch.targets).cast("f32").mean();
    const [entropy, hit, targets] = await Promise.all([
      crossEntropy(logits, batch.targets).item(),
      hits.item(),
      batch.targets.data(),
    ]);
    nats += entropy * targets.length;
    right += hit * targets.length;
    bytes += bytesOf(targets as Int32Array);
    tokens += targets.length;
  }
  const mean = nats / tokens;
  return {
    crossEntropy: mean,
    perplexity: Math.exp(mean),
    accuracy: right / tokens,
    bitsPerByte: nats / Math.LN2 / bytes,
    tokens,
  };
}
