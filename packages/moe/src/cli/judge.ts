import { successiveBatches } from "../text/batches.ts";
import type { Corpus } from "../text/corpus.ts";
import { textEntropies, type TextEntropies } from "../text/entropy.ts";
import { judgeText, type TextScores } from "../text/judgeText.ts";
import type { CharacterModel, CharacterModelParams } from "./languageModel.ts";

/** How good a model is on text that it has not seen, beside what tables of characters and of pairs would do. */
export interface Judgement extends TextEntropies, Omit<TextScores, "crossEntropy" | "tokens"> {
  /** Nats per character on the held-out text. */
  readonly heldOut: number;
  /** Characters judged by. */
  readonly characters: number;
}

/** The held-out batches of a corpus, none larger than the text allows. */
export function heldOutBatches(corpus: Corpus, context: number, batch: number): ReturnType<typeof successiveBatches> {
  const fitting = Math.min(batch, Math.floor((corpus.heldOut.length - 1) / context));
  return successiveBatches(corpus.heldOut, { batch: fitting, context });
}

export async function judge(
  model: CharacterModel,
  params: CharacterModelParams,
  corpus: Corpus,
  batch: number,
): Promise<Judgement> {
  const { tokenizer, all } = corpus;
  const bytesOf = (ids: Int32Array): number => new TextEncoder().encode(tokenizer.decode(ids)).length;
  const scores = await judgeText(model, params, heldOutBatches(corpus, model.context, batch), bytesOf);
  const { crossEntropy: heldOut, tokens: characters, ...rest } = scores;
  return { heldOut, characters, ...rest, ...textEntropies(all, tokenizer.size) };
}
