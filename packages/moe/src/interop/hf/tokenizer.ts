import { FormatError } from "@switchyard/tensor";
import type { Tokenizer } from "../../text/tokenizer.ts";
import * as files from "#files";

const tokenizerName = "tokenizer.json";
const configName = "tokenizer_config.json";

/** A tokenizer that a model came with, and the JSON that it was made of. */
export interface HfTokenizer extends Tokenizer {
  /** File by file, for those who write it again. Empty if there is none. */
  readonly files: { readonly [name: string]: unknown };
}

/**
 * The tokenizer of a directory. Without a `tokenizer.json`, one that says so when it is used: a model of token ids needs none.
 *
 * @throws {FormatError} if the file is there and is none.
 */
export async function loadTokenizer(dir: string): Promise<HfTokenizer> {
  const path = files.joinPath(dir, tokenizerName);
  if (!(await files.exists(path))) return missing(dir);
  const model = await readJson(path);
  const configPath = files.joinPath(dir, configName);
  const hasConfig = await files.exists(configPath);
  return tokenizerOf({ [tokenizerName]: model, [configName]: hasConfig ? await readJson(configPath) : {} }, path);
}

/** A tokenizer from the JSON of its files. */
async function tokenizerOf(parts: { readonly [name: string]: unknown }, source: string): Promise<HfTokenizer> {
  const { Tokenizer: Implementation } = await import("@huggingface/tokenizers");
  let inner: InstanceType<typeof Implementation>;
  try {
    inner = new Implementation(parts[tokenizerName] as object, parts[configName] as object);
  } catch (error) {
    throw new FormatError(`${source} is no tokenizer that can be read here: ${(error as Error).message}`);
  }
  return {
    files: parts,
    size: inner.get_vocab(true).size,
    encode: (text) => inner.encode(text).ids,
    decode: (ids) => inner.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
  };
}

function missing(dir: string): HfTokenizer {
  const fail = (): never => {
    throw new FormatError(`${dir} has no ${tokenizerName}; give token ids, or put the model's tokenizer there`);
  };
  return { files: {}, size: 0, encode: fail, decode: fail };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(new TextDecoder().decode(await files.readBytes(path)));
  } catch (error) {
    throw new FormatError(`${path} is not JSON: ${(error as Error).message}`);
  }
}
