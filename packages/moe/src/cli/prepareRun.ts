import { resolve } from "node:path";
import type { Command } from "commander";
import { adamw, constant, cosine, linear, type Schedule } from "@switchyard/autograd";
import { version } from "@switchyard/tensor";
import type { Corpus } from "../text/corpus.ts";
import { characterTokenizer } from "../text/tokenizer.ts";
import { readRun, type ModelSizes, type RunConfig, type TrainingConfig } from "../training/runDirectory.ts";
import { characterModel, readText, readyCorpus, textOfRun, type CharacterModel } from "./languageModel.ts";
import { UsageError, type CommonOptions } from "./usage.ts";

/** What `switchyard train` is told. */
export interface TrainCommandOptions
  extends CommonOptions, ModelSizes, Omit<TrainingConfig, "ema" | "patience" | "warmup" | "evalEvery"> {
  readonly data?: string;
  readonly resume?: string;
  readonly config?: string;
  readonly profile?: boolean;
  readonly revectorize?: boolean;
  readonly warmup?: number;
  readonly ema?: number;
  readonly evalEvery?: number;
  readonly patience?: number;
}

/** A run that is ready to start. */
export interface Prepared {
  readonly config: RunConfig;
  readonly corpus: Corpus;
  readonly model: CharacterModel;
  readonly optimizer: ReturnType<typeof optimizerOf>;
  /** Where it lies already, if it goes on. */
  readonly dir?: string;
}

/** A run as the options say. */
export async function newRun(options: TrainCommandOptions): Promise<Prepared> {
  const { data, steps, seed, batch, accumulate, learningRate, schedule, weightDecay, clip, precision, keep } = options;
  const { dim, layers, heads, hidden, context, experts, k, activation } = options;
  const { warmup = Math.floor(steps / 20), ema = null, evalEvery = Math.ceil(steps / 10), patience = null } = options;
  const file = data === undefined ? null : resolve(data);
  const text = await readText(file);
  const corpus = readyCorpus(text, context);
  const config: RunConfig = {
    format: "switchyard run",
    version: 1,
    versions: { switchyard: version, node: process.versions.node },
    model: { dim, layers, heads, hidden, context, experts, k, activation },
    vocabulary: corpus.tokenizer.vocabulary,
    data: { file, sha256: text.sha256 },
    steps,
    seed,
    batch,
    accumulate,
    learningRate,
    schedule,
    warmup,
    weightDecay,
    clip,
    ema,
    precision,
    evalEvery,
    patience,
    keep,
  };
  return { config, corpus, model: characterModel(corpus.tokenizer.size, config.model), optimizer: optimizerOf(config) };
}

/** A run takes its options from its directory: others would make it another run. */
export async function oldRun(dir: string, used: Command): Promise<Prepared> {
  const free = new Set(["resume", "json", "device", "profile", "revectorize"]);
  const given = used.options.filter((o) => used.getOptionValueSource(o.attributeName()) === "cli");
  const wrong = given.find((o) => !free.has(o.attributeName()));
  if (wrong) throw new UsageError(`${wrong.long} cannot be given with --resume: a run keeps the options it began with`);
  const config = await readRun(dir);
  const tokenizer = characterTokenizer(config.vocabulary);
  const corpus = readyCorpus(await textOfRun(config, dir), config.model.context, tokenizer);
  return { config, corpus, model: characterModel(tokenizer.size, config.model), optimizer: optimizerOf(config), dir };
}

/** Decay for matrices alone: a norm's scale or a bias has no reason to be small. */
const optimizerOf = (config: RunConfig) =>
  adamw({
    learningRate: scheduleOf(config),
    weightDecay: config.weightDecay,
    each: (_, t) => (t.ndim < 2 ? { weightDecay: 0 } : undefined),
  });

/** The learning rate: a straight rise, then what the schedule says, which ends at 0 but for a constant. */
function scheduleOf({ schedule, learningRate: peak, warmup, steps }: TrainingConfig): Schedule {
  const after = {
    constant: constant(peak),
    linear: linear({ from: peak, to: 0, steps: Math.max(1, steps - warmup) }),
    cosine: cosine({ peak, steps: Math.max(1, steps - warmup) }),
  }[schedule];
  return (step) => (step < warmup ? (peak * (step + 1)) / warmup : after(step - warmup));
}
