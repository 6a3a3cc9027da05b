import type { CharacterTokenizer } from "../../text/tokenizer.ts";

/** The files of a tokenizer of characters, as Hugging Face's libraries read them: each character a word of its own. */
export function characterFiles({ vocabulary }: CharacterTokenizer): { readonly [name: string]: unknown } {
  const characters = Array.from(vocabulary);
  return {
    "tokenizer.json": {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false },
      post_processor: null,
      decoder: { type: "Fuse" },
      // A character that the model has never seen is read as the first: the format wants a word for the unknown.
      model: {
        type: "WordLevel",
        vocab: Object.fromEntries(characters.map((character, id) => [character, id])),
        unk_token: characters[0],
      },
    },
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      clean_up_tokenization_spaces: false,
    },
  };
}
