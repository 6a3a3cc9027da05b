import type { Command } from "commander";
import { init, random } from "@switchyard/tensor";
import { exists, joinPath } from "../interop/files.node.ts";
import { importHf } from "../interop/hf/importHf.ts";
import { generate, type GenerateOptions } from "../models/generate.ts";
import type { SamplingOptions } from "../models/sampling.ts";
import { decodePieces } from "../text/decodePieces.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { optional } from "../training/optional.ts";
import { newestRun, runsRoot } from "../training/runDirectory.ts";
import { loadRun } from "./languageModel.ts";
import { command, integer, number, UsageError, type CommonOptions } from "./usage.ts";

interface SampleOptions extends CommonOptions, SamplingOptions {
  readonly run?: string;
  readonly prompt?: string;
  readonly tokens: number;
}

const opening = "Call me ";

export const sampleCommand = (): Command =>
  command("sample", "continue a prompt with a trained model")
    .option(
      "--run <dir>",
      `the run, or the model of transformers, to sample from (default: the newest in ${runsRoot}/)`,
    )
    .option(
      "--prompt <text>",
      `what to continue (default: "${opening}", or a character, for a model of other characters)`,
    )
    .option("--tokens <n>", "how many tokens to add", integer(1), 400)
    .option("--temperature <t>", "0 takes the likeliest token", number(0), 0.8)
    .option("--top-k <k>", "draw from the k likeliest", integer(1))
    .option("--top-p <p>", "draw from the likeliest of this probability together", number(0, 1))
    .option("--repetition-penalty <r>", "make tokens that were there less likely; 1 does not", number(1))
    .action(sample);

async function sample(options: SampleOptions): Promise<void> {
  const { json, prompt: given, tokens, temperature, topK, topP, repetitionPenalty } = options;
  if (given === "") throw new UsageError("option '--prompt <text>' must not be empty");
  if (options.topP === 0) throw new UsageError("option '--top-p <p>' must be above 0");
  await init(options.device);
  const dir = options.run ?? (await newestRun(runsRoot));
  const { tokenizer, prompt, goOn } = (await exists(joinPath(dir, "config.json")))
    ? await imported(dir, given)
    : await trained(dir, given);
  const write = (text: string): void => void (json || process.stdout.write(text));
  const ids = tokenizer.encode(prompt);
  const sampling = optional({ temperature, topK, topP, repetitionPenalty });
  const stream = goOn({ ...sampling, prompt: ids, maxTokens: tokens, key: random.key(options.seed) });
  write(prompt);
  let text = "";
  for await (const piece of decodePieces(tokenizer, stream, ids)) {
    write(piece);
    text += piece;
  }
  if (json) console.log(JSON.stringify({ run: dir, prompt, text }));
  else write("\n");
}

/** A model with a prompt, ready to go on with it. */
interface Ready {
  readonly tokenizer: Tokenizer;
  readonly prompt: string;
  readonly goOn: (options: GenerateOptions) => AsyncIterable<number>;
}

async function trained(dir: string, given: string | undefined): Promise<Ready> {
  const { model, params, tokenizer } = await loadRun(dir);
  const knows = (text: string): boolean => Array.from(text).every((c) => tokenizer.vocabulary.includes(c));
  const prompt = given ?? (knows(opening) ? opening : tokenizer.decode([0]));
  return { tokenizer, prompt, goOn: (options) => generate(model, params, options) };
}

async function imported(dir: string, prompt = opening): Promise<Ready> {
  const { model, params, tokenizer } = await importHf(dir);
  return { tokenizer, prompt, goOn: (options) => generate(model, params, options) };
}
