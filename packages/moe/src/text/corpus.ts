import { ConfigError, FormatError } from "@switchyard/tensor";
import { anObject, checkOptions, fraction, positiveInteger } from "@switchyard/tensor/graph";
import { characterTokenizer, vocabularyOf, type CharacterTokenizer } from "./tokenizer.ts";

/** A text as token ids, in two parts. */
export interface Corpus {
  readonly tokenizer: CharacterTokenizer;
  /** The whole text. */
  readonly all: Int32Array;
  /** The beginning, to train on. */
  readonly train: Int32Array;
  /** The rest, to judge by. */
  readonly heldOut: Int32Array;
}

export interface CorpusOptions {
  /** Tokens that one sequence needs, its target included: each part must have as many. */
  readonly atLeast: number;
  /** The share of the text, at its end, that is held out; a tenth by default. */
  readonly heldOutShare?: number;
  /** By default, one that knows each character of the text. */
  readonly tokenizer?: CharacterTokenizer;
}

/**
 * Text from the bytes of a file.
 *
 * @param name for messages.
 * @throws {FormatError} if the bytes are none, or not UTF-8.
 */
export function decodeText(bytes: Uint8Array, name: string): string {
  if (bytes.length === 0) throw new FormatError(`${name} is empty; give a text to learn from`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new FormatError(`${name} is not UTF-8 text; convert it, for example with iconv -t UTF-8`);
  }
}

/**
 * A text, ready to learn from.
 *
 * @param name for messages.
 * @throws {ConfigError} on a bad option, or if a part is too short for one sequence.
 */
export function corpusOf(text: string, name: string, options: CorpusOptions): Corpus {
  checkOptions("corpusOf", options, { atLeast: positiveInteger, heldOutShare: fraction, tokenizer: anObject });
  if (text === "") throw new ConfigError(`${name} is empty; give a text to learn from`);
  const { atLeast, heldOutShare = 0.1, tokenizer = characterTokenizer(vocabularyOf(text)) } = options;
  const all = Int32Array.from(tokenizer.encode(text));
  const border = Math.floor(all.length * (1 - heldOutShare));
  const [train, heldOut] = [all.subarray(0, border), all.subarray(border)];
  if (Math.min(train.length, heldOut.length) < atLeast)
    throw new ConfigError(
      `${name} is too short: ${all.length} characters make a part of ${train.length} to train on and ${heldOut.length} to judge by, and each must have ${atLeast}; give a longer text or a smaller context`,
    );
  return { tokenizer, all, train, heldOut };
}
