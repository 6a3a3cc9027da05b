import { ConfigError } from "@switchyard/tensor";

/** Turns text into token ids and back. */
export interface Tokenizer {
  /** How many ids there are: 0..size-1. */
  readonly size: number;
  /** @throws {ConfigError} for text that no ids stand for. */
  encode(text: string): number[];
  decode(ids: Iterable<number>): string;
}

/** One id for each byte of a text in UTF-8: 256 of them, whatever the language. Bytes that are none decode as `\ufffd`. */
export const byteTokenizer = (): Tokenizer => ({
  size: 256,
  encode: (text) => [...new TextEncoder().encode(text)],
  decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
});

export interface CharacterTokenizer extends Tokenizer {
  /** The characters in the order of their ids: all there is to save. */
  readonly vocabulary: string;
}

/** The distinct characters (Unicode code points) of a text, in code point order. */
export const vocabularyOf = (text: string): string =>
  [...new Set(text)].toSorted((a, b) => a.codePointAt(0)! - b.codePointAt(0)!).join("");

/**
 * One id for each character of a vocabulary.
 *
 * @throws {ConfigError} if a character appears twice, or there is none.
 */
export function characterTokenizer(vocabulary: string): CharacterTokenizer {
  const characters = Array.from(vocabulary);
  const idOf = new Map(characters.map((character, id) => [character, id]));
  if (characters.length === 0 || idOf.size !== characters.length)
    throw new ConfigError(
      `characterTokenizer: a vocabulary is a string of distinct characters, got ${JSON.stringify(vocabulary)}`,
    );
  return {
    vocabulary,
    size: characters.length,
    encode: (text) =>
      Array.from(text, (character) => {
        const id = idOf.get(character);
        if (id === undefined)
          throw new ConfigError(
            `encode: the character ${JSON.stringify(character)} is not in the vocabulary of ${characters.length}: ${JSON.stringify(vocabulary)}`,
          );
        return id;
      }),
    decode: (ids) => Array.from(ids, (id) => characters[id] ?? "\ufffd").join(""),
  };
}
