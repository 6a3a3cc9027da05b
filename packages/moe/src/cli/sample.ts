import type { Command } from "commander";
import { init, random } from "@switchyard/tensor";
import { generate, type SamplingOptions } from "../models/generate.ts";
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
    .option("--run <dir>", `the run to sample from (default: the newest in ${runsRoot}/)`)
    .option(
      "--prompt <text>",
      `what to continue (default: "${opening}", or a character, for a model of other characters)`,
    )
    .option("--tokens <n>", "how many characters to add", integer(1), 400)
    .option("--temperature <t>", "0 takes the likeliest character", number(0), 0.8)
    .option("--top-k <k>", "draw from the k likeliest", integer(1))
    .option("--top-p <p>", "draw from the likeliest of this probability together", number(0, 1))
    .action(sample);

async function sample(options: SampleOptions): Promise<void> {
  const { json, tokens, temperature, topK, topP } = options;
  if (options.prompt === "") throw new UsageError("option '--prompt <text>' must not be empty");
  if (topP === 0) throw new UsageError("option '--top-p <p>' must be above 0");
  await init(options.device);
  const { model, params, tokenizer, dir } = await loadRun(options.run ?? (await newestRun(runsRoot)));
  const { vocabulary } = tokenizer;
  const prompt =
    options.prompt ?? (Array.from(opening).every((c) => vocabulary.includes(c)) ? opening : tokenizer.decode([0]));
  const stream = generate(model, params, {
    prompt: tokenizer.encode(prompt),
    maxTokens: tokens,
    temperature,
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    key: random.key(options.seed),
  });
  const write = (text: string): void => void (json || process.stdout.write(text));
  write(prompt);
  let text = "";
  for await (const id of stream) {
    const character = tokenizer.decode([id]);
    text += character;
    write(character);
  }
  if (json) console.log(JSON.stringify({ run: dir, prompt, text }));
  else write("\n");
}
