import type { Tokenizer } from "./tokenizer.ts";

/**
 * The text of tokens as they come, in pieces that can be shown at once: a character that is spread over several tokens comes with the last
 * of them.
 *
 * @param before the tokens of the text that these go on with: a tokenizer may decode what begins a text unlike the same amid one.
 */
export async function* decodePieces(
  tokenizer: Pick<Tokenizer, "decode">,
  ids: AsyncIterable<number>,
  before: readonly number[] = [],
): AsyncGenerator<string> {
  const all = [...before];
  // What ends in the replacement character is not whole yet.
  const whole = (): string => tokenizer.decode(all).replace(/\ufffd+$/, "");
  let shown = whole().length;
  for await (const id of ids) {
    all.push(id);
    const text = whole();
    if (text.length > shown) yield text.slice(shown);
    shown = text.length;
  }
}
