import { ConfigError, defaultDevice, random, realize, type Key, type Tensor } from "@switchyard/tensor";
import { disposeTree } from "../models/disposeTree.ts";
import { evaluate, type Evaluation } from "./evaluate.ts";
import type * as Keeping from "./keeping.ts";
import { checkHalves } from "./lossScale.ts";
import { optional } from "./optional.ts";
import { bestAfter, nonFinite, startOf, type Standing } from "./standing.ts";
import { prepareStep, skipped, unrealized, type Prepared, type Trained } from "./step.ts";
import { checkTrain, type TrainOptions } from "./trainOptions.ts";

/** What a step came to. Its tensors live until the next step. */
export interface Report<P, A> {
  /** From 0. */
  readonly step: number;
  readonly loss: number;
  /** What the model's `loss` returned. */
  readonly aux: A;
  /** After the step. */
  readonly params: P;
  /** Of the parameters, if `ema` is set. */
  readonly average?: P;
  /** Before clipping, if `clip` is set. */
  readonly gradientNorm?: number;
  /** Of the next step, if `precision` is f16; half of the one before, where this step overflowed and was skipped. */
  readonly lossScale?: number;
  /** Where `evaluate` was due. */
  readonly evaluation?: Evaluation;
}

/** A training run. Nothing starts before it is iterated or finished. */
export interface Run<P, A> extends AsyncIterable<Report<P, A>> {
  /** The directory that it is kept in, if it is: what `checkpoint` says. */
  readonly dir?: string;
  /** Runs what is left and gives the last report. */
  finish(): Promise<Report<P, A>>;
}

/**
 * Trains a model. Each step is one submission to the device: the loss, its gradient and the update together, written in place of the
 * parameters before. While the device works, the graph of the next step is built.
 *
 * @throws {ConfigError} on a bad option; when the run starts, if a directory holds a run and `resume` is not set, or there is nothing to resume.
 * @throws {DeviceError} when the run starts, if `precision` is f16 and the device has none.
 * @throws {GradientError} from the step whose loss, or whose parameters at a checkpoint, are not finite. The last good checkpoint stays.
 */
export const train = <P, B, A extends { readonly loss: Tensor }, S>(options: TrainOptions<P, B, A, S>): Run<P, A> =>
  runOf(options, false);

/** `train`, where the caller holds the lock of the directory. */
export const trainLocked = <P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
): Run<P, A> => runOf(options, true);

function runOf<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  isLocked: boolean,
): Run<P, A> {
  checkTrain(options);
  const state: { last?: Report<P, A> } = {};
  const reports = reportsOf(options, isLocked, state);
  return {
    ...(options.checkpoint && { dir: options.checkpoint.dir }),
    [Symbol.asyncIterator]: () => reports,
    async finish() {
      for (let next = await reports.next(); !next.done; next = await reports.next());
      if (state.last) return state.last;
      throw options.signal?.reason ?? new ConfigError("train: the run was ended before its first step");
    },
  };
}

async function* reportsOf<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  isLocked: boolean,
  run: { last?: Report<P, A> },
): AsyncGenerator<Report<P, A>, void> {
  if (options.precision === "f16") await checkHalves(defaultDevice());
  if (!options.checkpoint) return yield* stepsOf(options, run);
  const keeping = await import("./keeping.ts");
  const { dir } = options.checkpoint;
  if (options.resume) await keeping.checkBegun(dir);
  const unlock = isLocked ? undefined : await keeping.lockRun(dir);
  try {
    yield* stepsOf(options, run, keeping);
  } finally {
    unlock?.();
  }
}

async function* stepsOf<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  run: { last?: Report<P, A> },
  keeping?: typeof Keeping,
): AsyncGenerator<Report<P, A>, void> {
  const { steps, signal, evaluate: judging, checkpoint } = options;
  const [initKey, stepKey] = random.split(random.key(options.seed ?? 0));
  const start = startOf(options, initKey);
  let at = keeping ? await keeping.beginning(options, start) : start;
  if (at === start) await realize([at.params, at.state, at.lossScale]);
  const isOver = (): boolean => at.step >= steps || at.best.since >= (judging?.patience ?? Infinity);
  if (isOver()) {
    run.last = await endAgain(options, at, stepKey);
    return;
  }
  const first = at.step;
  let prepared = await prepareStep(options, at, at.step, stepKey);
  let spent: Tensor[] = [];
  let saved: number | undefined;
  // Whether no step is under way, which may have spent what `at` stands for.
  let isBetween = true;
  try {
    while (!isOver() && !signal?.aborted) {
      isBetween = false;
      const { aux, loss: lossTensor, gradientNorm: normTensor, taken, accumulated, ...updated } = prepared;
      const made = unrealized([aux, lossTensor, normTensor, taken]);
      const donate = [at.params, at.state, at.average, at.lossScale, spent, accumulated];
      const work = realize([aux, lossTensor, normTensor, taken, updated], { donate });
      const { step, state: stateBefore } = at;
      spent = made;
      const following = step + 1 < steps ? prepareMeanwhile(options, updated, step + 1, stepKey) : prepared;
      const scale = updated.lossScale?.scale;
      const read = Promise.all([lossTensor.item(), normTensor?.item(), scale?.item(), taken?.item()]);
      const [[loss, gradientNorm, lossScale, isTaken], next] = await Promise.all([read, following, work]);
      if (!Number.isFinite(loss)) {
        const what = `the loss of step ${step} is ${loss}`;
        throw keeping ? await keeping.astray(checkpoint!.dir, what) : nonFinite(what);
      }
      const isSkipped = isTaken === 0;
      const trained = isSkipped ? skipped(at, updated) : updated;
      prepared = next;
      if (isSkipped && step + 1 < steps) {
        // Written as if this step were an update, the next has a wrong count of updates.
        disposeTree(next.accumulated);
        prepared = await prepareStep(options, trained, step + 1, stepKey);
      }
      const evaluation = await evaluateIfDue(options, trained, step + 1);
      const best = bestAfter(options, at.best, evaluation, step + 1);
      at = { ...trained, step: step + 1, loss, best };
      const report = { step, loss, aux, ...modelOf(trained), ...optional({ gradientNorm, lossScale, evaluation }) };
      await keeping?.note(options, report, stateBefore);
      if (keeping && (isDue(checkpoint, at.step, steps) || best.step === at.step || isOver()))
        saved = await keeping.save(options, at);
      run.last = report;
      isBetween = true;
      yield report;
    }
  } finally {
    disposeTree(prepared.accumulated);
    // Also where a loop over the run is left early: it goes on after yield, here.
    if (keeping && isBetween && at.step > first && saved !== at.step) await keeping.save(options, at);
  }
}

const modelOf = <P, S>({ params, average }: Trained<P, S>): Pick<Trained<P, S>, "params" | "average"> => ({
  params,
  ...(average !== undefined && { average }),
});

/** The last report of a run that has ended before. */
async function endAgain<P, B, A extends { readonly loss: Tensor }, S>(
  { model, data, accumulate = 1 }: TrainOptions<P, B, A, S>,
  at: Standing<P, S>,
  stepKey: Key,
): Promise<Report<P, A>> {
  const batch = at.step * accumulate - 1;
  const aux = model.loss(at.params, await data(batch), { train: false, key: random.fold(stepKey, batch) });
  return { step: at.step - 1, loss: at.loss, aux, ...modelOf(at) };
}

/** `prepareStep`, once the device has been given its work: building a graph keeps the program from handing over. */
async function prepareMeanwhile<P, B, A extends { readonly loss: Tensor }, S>(
  ...args: Parameters<typeof prepareStep<P, B, A, S>>
): Promise<Prepared<P, A, S>> {
  await new Promise<void>((resolve) => void (globalThis.setImmediate ?? setTimeout)(resolve));
  return prepareStep(...args);
}

const isDue = (when: { readonly every: number } | undefined, done: number, steps: number): boolean =>
  when !== undefined && (done % when.every === 0 || done === steps);

async function evaluateIfDue<P, B, A extends { readonly loss: Tensor }, S>(
  { model, evaluate: how, steps }: TrainOptions<P, B, A, S>,
  { params, average = params }: Trained<P, S>,
  done: number,
): Promise<Evaluation | undefined> {
  if (!how || !isDue(how, done, steps)) return undefined;
  return evaluate({ model, params: average, data: how.data, batches: how.batches });
}
