import { Option, type Command } from "commander";
import { treeLeaves, treePaths } from "@switchyard/autograd";
import { random } from "@switchyard/tensor";
import { fraction, positiveNumber } from "@switchyard/tensor/graph";
import { samplingFloor } from "../diagnostics/samplingFloor.ts";
import type { TransformerLoss } from "../models/transformer.ts";
import type { TokenRouting } from "../routing/routing.ts";
import { randomBatches } from "../text/batches.ts";
import { textEntropies } from "../text/entropy.ts";
import { stepsIn } from "../training/history.ts";
import { checkHalves } from "../training/lossScale.ts";
import { lockRun } from "../training/runLock.ts";
import { createRun, runsRoot, schedules, type RunConfig } from "../training/runDirectory.ts";
import { samplesLog } from "../training/runLog.ts";
import { train, trainLocked, type Report } from "../training/train.ts";
import { readConfig } from "./config.ts";
import { stopOnInterrupt } from "./interrupt.ts";
import { heldOutBatches, judge } from "./judge.ts";
import type { CharacterModel, CharacterModelParams } from "./languageModel.ts";
import { newRun, oldRun, type Prepared, type TrainCommandOptions } from "./prepareRun.ts";
import { profileStep } from "./profileStep.ts";
import type { Progress, TrainReporter } from "./report/events.ts";
import { terminalReporter } from "./report/terminal.ts";
import { jsonReporter, plainReporter } from "./report/text.ts";
import { makeUpSample, sampleLength, sampleOf, showUntrained } from "./runSamples.ts";
import { startDevice } from "./startDevice.ts";
import { command, integer, number, numberThat, type CommonOptions } from "./usage.ts";

export const trainCommand = (): Command =>
  command("train", "train a sparse language model of characters; with no options, the demo")
    .option("--data <file>", "the text to learn from (default: Moby-Dick)")
    .option("--steps <n>", "how many updates", integer(1), 1000)
    .option("--resume <dir>", "go on with a run that was stopped")
    .option("--batch <n>", "sequences in an update", integer(1), 16)
    .option("--context <n>", "characters in a sequence", integer(1), 128)
    .option("--layers <n>", "layers, each with a mixture of experts", integer(1), 4)
    .option("--dim <n>", "the width of the model", integer(1), 128)
    .option("--heads <n>", "attention heads", integer(1), 4)
    .option("--hidden <n>", "the width inside an expert", integer(1), 256)
    .option("--experts <n>", "experts in a layer", integer(1), 8)
    .option("--k <n>", "experts that each character is sent to", integer(1), 2)
    .addOption(
      new Option("--activation <name>", "of experts: relu, or swiglu without biases, as in Mixtral, for export")
        .choices(["relu", "swiglu"])
        .default("relu"),
    )
    .option("--learning-rate <r>", "the highest learning rate", number(0), 4e-3)
    .addOption(
      new Option("--schedule <name>", "how it goes on after it has risen").choices(schedules).default("cosine"),
    )
    .option("--warmup <n>", "steps in which it rises (default: a twentieth of the steps)", integer(0))
    .option("--weight-decay <w>", "how much weights shrink in a step, by the learning rate", number(0), 0.1)
    .option("--clip <norm>", "the greatest norm of a gradient", numberThat(positiveNumber), 1)
    .option("--accumulate <n>", "batches of an update, one at a time", integer(1), 1)
    .option(
      "--ema <decay>",
      "judge and keep an average of the weights, of which a step leaves so much",
      numberThat(fraction),
    )
    .addOption(
      new Option("--precision <dtype>", "of loss and gradient; f16 on cpu, and on webgpu where the adapter has it")
        .choices(["f32", "f16"])
        .default("f32"),
    )
    .option(
      "--eval-every <n>",
      "steps between evaluations, and checkpoints (default: a tenth of the steps)",
      integer(1),
    )
    .option("--patience <n>", "stop after so many evaluations that are not the best", integer(1))
    .option("--keep <n>", "how many of the newest checkpoints to keep, beside the best", integer(1), 2)
    .option("--profile", "tell first where the time of a step goes, kernel by kernel")
    .option("--revectorize", "compute with 256-bit vectors, on wasm where this engine has them")
    .option("--config <file>", 'take options from a JSON file, such as { "learningRate": 1e-3 }; others count more')
    .hook("preAction", (used) => readConfig(used))
    .action(trainRun);

async function trainRun(options: TrainCommandOptions, used: Command): Promise<void> {
  const started = performance.now();
  const revectorized = await startDevice(options.device, options.revectorize);
  const prepared = options.resume === undefined ? await newRun(options) : await oldRun(options.resume, used);
  const { config, corpus, model } = prepared;
  if (config.precision === "f16") await checkHalves(options.device);
  const sizes = countParameters(model, config);
  // All that can be wrong with the options has been said: from here on there is a directory.
  const dir = prepared.dir ?? (await createRun(runsRoot, config));
  const unlock = await lockRun(dir);
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
      revectorized,
      ...sizes,
      ...counts,
      steps: config.steps,
      ...entropies,
    });
    if (options.profile)
      reporter.show(await profileStep((steps) => train({ ...stepsOf(prepared), steps }), options.device));
    const done = (await stepsIn(dir)).at(-1);
    await samplesLog.rewind(dir, done ?? -1);
    if (done === undefined) await showUntrained(prepared, dir, reporter);
    else await makeUpSample(prepared, dir, done);
    const last = await trainSteps(prepared, dir, reporter, interrupt.signal);
    if (interrupt.signal.aborted && (last?.step ?? -1) + 1 < config.steps)
      return reporter.show({ event: "stopped", run: dir, step: last ? last.step + 1 : 0, steps: config.steps });
    const params = last!.average ?? last!.params;
    reporter.show({ event: "sample", when: "after", ...(await sampleOf(prepared, params, 300)) });
    const judgement = await judge(model, params, corpus, config.batch);
    reporter.show({ event: "end", run: dir, seconds: (performance.now() - started) / 1000, ...judgement });
  } finally {
    interrupt.release();
    reporter.close();
    unlock();
  }
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

type StepReport = Report<CharacterModelParams, TransformerLoss<TokenRouting>>;

/** What decides the numbers of each step. */
const stepsOf = ({ config: { seed, batch, accumulate, clip, precision }, corpus, model, optimizer }: Prepared) => ({
  model,
  data: randomBatches(corpus.train, { batch, context: model.context }, seed),
  optimizer,
  seed,
  accumulate,
  clip,
  precision,
});

async function trainSteps(
  prepared: Prepared,
  dir: string,
  reporter: TrainReporter,
  signal: AbortSignal,
): Promise<StepReport | undefined> {
  const { config, corpus, model } = prepared;
  const { steps, batch, accumulate, ema, evalEvery, patience, keep } = config;
  const { context } = model;
  const judging = heldOutBatches(corpus, context, batch);
  const run = trainLocked({
    ...stepsOf(prepared),
    steps,
    ...(ema !== null && { ema }),
    evaluate: {
      data: judging.at,
      batches: Math.min(2, judging.count),
      every: evalEvery,
      by: "crossEntropy",
      ...(patience !== null && { patience }),
    },
    checkpoint: { dir, every: evalEvery, keep },
    resume: (await stepsIn(dir)).length > 0,
    signal,
  });
  const clock = stopwatch(batch * accumulate * context);
  let heldOut: number | undefined;
  for await (const report of run) {
    heldOut = report.evaluation?.crossEntropy ?? heldOut;
    clock.step();
    if (report.evaluation)
      await samplesLog.note(dir, {
        step: report.step + 1,
        ...(await sampleOf(prepared, report.average ?? report.params, sampleLength)),
      });
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
