import { resolve } from "node:path";
import type { Command } from "commander";
import { adamw, clipByGlobalNorm, treeLeaves, treePaths, warmupCosine, type Optimizer } from "@switchyard/autograd";
import { init, random, realize } from "@switchyard/tensor";
import { samplingFloor } from "../diagnostics/samplingFloor.ts";
import { generate } from "../models/generate.ts";
import type { TransformerLoss } from "../models/transformer.ts";
import type { TokenRouting } from "../routing/routing.ts";
import { randomBatches } from "../text/batches.ts";
import type { Corpus } from "../text/corpus.ts";
import { textEntropies } from "../text/entropy.ts";
import { characterTokenizer } from "../text/tokenizer.ts";
import { stepsIn } from "../training/checkpoint.ts";
import { createRun, readRun, runsRoot, type ModelSizes, type RunConfig } from "../training/runDirectory.ts";
import { train, type Report } from "../training/train.ts";
import { stopOnInterrupt } from "./interrupt.ts";
import { heldOutBatches, judge } from "./judge.ts";
import {
  characterModel,
  readText,
  readyCorpus,
  textOfRun,
  type CharacterModel,
  type CharacterModelParams,
} from "./languageModel.ts";
import type { Progress, TrainReporter } from "./report/events.ts";
import { terminalReporter } from "./report/terminal.ts";
import { jsonReporter, plainReporter } from "./report/text.ts";
import { command, integer, number, UsageError, type CommonOptions } from "./usage.ts";

interface TrainCommandOptions extends CommonOptions, ModelSizes {
  readonly data?: string;
  readonly resume?: string;
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
}

export const trainCommand = (): Command =>
  command("train", "train a sparse language model of characters; with no options, the demo")
    .option("--data <file>", "the text to learn from (default: Moby-Dick)")
    .option("--steps <n>", "how many updates", integer(1), 600)
    .option("--resume <dir>", "go on with a run that was stopped")
    .option("--batch <n>", "sequences in an update", integer(1), 16)
    .option("--context <n>", "characters in a sequence", integer(1), 128)
    .option("--layers <n>", "layers, each with a mixture of experts", integer(1), 4)
    .option("--dim <n>", "the width of the model", integer(1), 128)
    .option("--heads <n>", "attention heads", integer(1), 4)
    .option("--hidden <n>", "the width inside an expert", integer(1), 256)
    .option("--experts <n>", "experts in a layer", integer(1), 8)
    .option("--k <n>", "experts that each character is sent to", integer(1), 2)
    .option("--learning-rate <r>", "the highest learning rate", number(0), 4e-3)
    .action(trainRun);

/** A run that is ready to start. */
interface Prepared {
  readonly config: RunConfig;
  readonly corpus: Corpus;
  readonly model: CharacterModel;
  readonly optimizer: ReturnType<typeof optimizerOf>;
  /** Where it lies already, if it goes on. */
  readonly dir?: string;
}

async function trainRun(options: TrainCommandOptions, used: Command): Promise<void> {
  const started = performance.now();
  await init(options.device);
  const prepared = options.resume === undefined ? await newRun(options) : await oldRun(options.resume, used);
  const { config, corpus, model } = prepared;
  const sizes = countParameters(model, config);
  // All that can be wrong with the options has been said: from here on there is a directory.
  const dir = prepared.dir ?? (await createRun(runsRoot, config));
  const reporter = reporterFor(options);
  const interrupt = stopOnInterrupt();
  try {
    const { tokenizer, train: trained, heldOut, all } = corpus;
    const counts = { trainCharacters: trained.length, heldOutCharacters: heldOut.length, vocabulary: tokenizer.size };
    const entropies = textEntropies(all, tokenizer.size);
    reporter.show({
      event: "begin",
      run: dir,
      device: options.device,
      ...sizes,
      ...counts,
      steps: config.steps,
      ...entropies,
    });
    if (!prepared.dir) await showUntrained(prepared, reporter);
    const last = await trainSteps(prepared, dir, reporter, interrupt.signal);
    if (interrupt.signal.aborted && (last?.step ?? -1) + 1 < config.steps)
      return reporter.show({ event: "stopped", run: dir, step: last ? last.step + 1 : 0, steps: config.steps });
    await showSample(prepared, last!.params, "after", reporter);
    const judgement = await judge(model, last!.params, corpus, config.batch);
    reporter.show({ event: "end", run: dir, seconds: (performance.now() - started) / 1000, ...judgement });
  } finally {
    interrupt.release();
    reporter.close();
  }
}

async function newRun(options: TrainCommandOptions): Promise<Prepared> {
  const { data, batch, steps, seed, learningRate, dim, layers, heads, hidden, context, experts, k } = options;
  const file = data === undefined ? null : resolve(data);
  const text = await readText(file);
  const corpus = readyCorpus(text, context);
  const config: RunConfig = {
    format: "switchyard run",
    version: 1,
    model: { dim, layers, heads, hidden, context, experts, k },
    vocabulary: corpus.tokenizer.vocabulary,
    data: { file, sha256: text.sha256 },
    batch,
    steps,
    seed,
    learningRate,
  };
  return { config, corpus, model: characterModel(corpus.tokenizer.size, config.model), optimizer: optimizerOf(config) };
}

/** A run takes its options from its directory: others would make it another run. */
async function oldRun(dir: string, used: Command): Promise<Prepared> {
  const free = new Set(["resume", "json", "device"]);
  const given = used.options.filter((o) => used.getOptionValueSource(o.attributeName()) === "cli");
  const wrong = given.find((o) => !free.has(o.attributeName()));
  if (wrong) throw new UsageError(`${wrong.long} cannot be given with --resume: a run keeps the options it began with`);
  const config = await readRun(dir);
  const tokenizer = characterTokenizer(config.vocabulary);
  const corpus = readyCorpus(await textOfRun(config, dir), config.model.context, tokenizer);
  return { config, corpus, model: characterModel(tokenizer.size, config.model), optimizer: optimizerOf(config), dir };
}

/** All parameters, and those that one token meets. */
function countParameters(model: CharacterModel, { model: { experts, k } }: RunConfig) {
  const params = model.init(random.key(0));
  const paths = treePaths(params);
  let [parameters, activeParameters] = [0, 0];
  for (const [i, { size }] of treeLeaves(params).entries()) {
    parameters += size;
    activeParameters += paths[i].includes(".moe.experts.") ? (size / experts) * k : size;
  }
  return { parameters, activeParameters };
}

function reporterFor({ json }: CommonOptions): TrainReporter {
  const write = (text: string): void => void process.stdout.write(text);
  if (json) return jsonReporter(write);
  return process.stdout.isTTY ? terminalReporter(process.stdout) : plainReporter(write);
}

/** Decay for matrices alone: a norm's scale or a bias has no reason to be small. */
const optimizerOf = ({ steps, learningRate }: RunConfig) =>
  clipped(
    adamw({
      learningRate: warmupCosine({ peak: learningRate, warmup: Math.floor(steps / 20), steps }),
      weightDecay: 0.1,
      each: (_, t) => (t.ndim < 2 ? { weightDecay: 0 } : undefined),
    }),
  );

/** Gradients of a global norm of at most 1. */
const clipped = <S>(optimizer: Optimizer<S>): Optimizer<S> => ({
  init: (params) => optimizer.init(params),
  update: (params, grads, state) => optimizer.update(params, clipByGlobalNorm(grads, 1), state),
});

type StepReport = Report<CharacterModelParams, TransformerLoss<TokenRouting>>;

async function trainSteps(
  { config, corpus, model, optimizer }: Prepared,
  dir: string,
  reporter: TrainReporter,
  signal: AbortSignal,
): Promise<StepReport | undefined> {
  const { batch, steps, seed } = config;
  const { context } = model;
  const judging = heldOutBatches(corpus, context, batch);
  const run = train({
    model,
    data: randomBatches(corpus.train, { batch, context }, seed),
    optimizer,
    steps,
    seed,
    evaluate: { data: judging.at, batches: Math.min(2, judging.count), every: Math.ceil(steps / 10) },
    checkpoint: { dir, every: Math.ceil(steps / 10) },
    resume: (await stepsIn(dir)).length > 0,
    signal,
  });
  const clock = stopwatch(batch * context);
  let heldOut: number | undefined;
  for await (const report of run) {
    heldOut = report.evaluation?.crossEntropy ?? heldOut;
    clock.step();
    if (!reporter.wants(report.step + 1, steps)) continue;
    const left = steps - report.step - 1;
    reporter.show({
      ...(await progressOf(report, steps)),
      ...clock.read(left),
      ...(heldOut !== undefined && { heldOut }),
    });
  }
  return run.finish().catch((error: unknown) => {
    if (signal.aborted) return undefined; // before the first step
    throw error;
  });
}

async function progressOf(
  { step, aux }: StepReport,
  steps: number,
): Promise<Omit<Progress, "tokensPerSecond" | "secondsLeft">> {
  const [loss, ...counts] = await Promise.all([
    aux.crossEntropy.item(),
    ...aux.routings.map(async (routing) => [...(await routing.counts.data())]),
  ]);
  const shares = counts.map((layer) => layer.map((n) => n / layer.reduce((sum, c) => sum + c, 0)));
  const cvSquared = shares.map(
    (layer) => layer.reduce((sum, s) => sum + (s * layer.length - 1) ** 2, 0) / layer.length,
  );
  const [tokens, k] = aux.routings[0].experts.shape;
  const cvSquaredByChance = samplingFloor({ tokens, experts: shares[0].length, k }) ** 2;
  return { event: "progress", step: step + 1, steps, loss, shares, cvSquared, cvSquaredByChance };
}

/** How fast it has gone of late, and how long the rest takes at the speed of the run so far. */
function stopwatch(tokensPerStep: number) {
  const began = performance.now();
  const ends = [began];
  let done = 0;
  return {
    step() {
      done++;
      ends.push(performance.now());
      while (ends.length > 2 && ends[ends.length - 1] - ends[0] > lately) ends.shift();
    },
    read(left: number) {
      const now = ends[ends.length - 1];
      const tokensPerSecond = ((ends.length - 1) * tokensPerStep * 1000) / (now - ends[0]);
      return { tokensPerSecond, secondsLeft: (left * (now - began)) / done / 1000 };
    },
  };
}

/** Milliseconds: long enough that an evaluation among the steps does not make the speed jump. */
const lately = 10_000;

async function showUntrained(prepared: Prepared, reporter: TrainReporter): Promise<void> {
  const params = await realize(prepared.model.init(random.key(prepared.config.seed)));
  await showSample(prepared, params, "before", reporter);
  await realize([], { donate: params });
}

async function showSample(
  { model, corpus, config }: Prepared,
  params: CharacterModelParams,
  when: "before" | "after",
  reporter: TrainReporter,
): Promise<void> {
  const prompt = [...corpus.heldOut.subarray(0, Math.min(24, model.context))];
  const ids: number[] = [];
  const key = random.key(config.seed);
  for await (const id of generate(model, params, {
    prompt,
    maxTokens: when === "before" ? 80 : 300,
    temperature: 0.8,
    key,
  }))
    ids.push(id);
  const { tokenizer } = corpus;
  reporter.show({ event: "sample", when, prompt: tokenizer.decode(prompt), text: tokenizer.decode(ids) });
}
