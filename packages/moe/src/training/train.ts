import { ConfigError, GradientError, random, realize, type Key, type Tensor } from "@switchyard/tensor";
import { treeLeaves, valueAndGrad, type Optimizer } from "@switchyard/autograd";
import {
  aFunction,
  anObject,
  checkOptions,
  flag,
  leafStorage,
  positiveInteger,
  requireOptions,
  type Rule,
  valueNode,
  wholeNumber,
} from "@switchyard/tensor/graph";
import type { Model } from "../models/model.ts";
import { checkpointOfStep, keepOnly, loadCheckpoint, loadTraining, saveCheckpoint, stepsIn } from "./checkpoint.ts";
import { evaluate, type Evaluation } from "./evaluate.ts";

export interface TrainOptions<P, B, A extends { readonly loss: Tensor }, S> {
  readonly model: Model<P, B, A>;
  /** The batch of a step. A pure function of the step, so that a run that goes on needs no more than the step. */
  readonly data: (step: number) => B | Promise<B>;
  readonly optimizer: Optimizer<S>;
  readonly steps: number;
  /** Decides the first parameters, and what the model draws at each step; 0 by default. */
  readonly seed?: number;
  /** Judges by other data every so many steps, and after the last. */
  readonly evaluate?: {
    readonly data: (index: number) => B | Promise<B>;
    readonly batches: number;
    readonly every: number;
  };
  /** Keeps the newest checkpoint in a directory: every so many steps, after the last, and when the run is stopped. */
  readonly checkpoint?: { readonly dir: string; readonly every: number };
  /** Goes on from the checkpoint, exactly as if the run had never ended. */
  readonly resume?: boolean;
  /** Ends the run after the step under way. */
  readonly signal?: AbortSignal;
}

/** What a step came to. Its tensors live until the next step. */
export interface Report<P, A> {
  /** From 0. */
  readonly step: number;
  readonly loss: number;
  /** What the model's `loss` returned. */
  readonly aux: A;
  /** After the step. */
  readonly params: P;
  /** Where `evaluate` was due. */
  readonly evaluation?: Evaluation;
}

/** A training run. Nothing starts before it is iterated or finished. */
export interface Run<P, A> extends AsyncIterable<Report<P, A>> {
  /** Runs what is left and gives the last report. */
  finish(): Promise<Report<P, A>>;
}

/** What a checkpoint remembers beside the parameters. */
interface Training<S> {
  readonly state: S;
  /** Steps done. */
  readonly step: number;
  readonly seed: number;
  /** Of the last step. */
  readonly loss: number;
}

/**
 * Trains a model. Each step is one submission to the device: the loss, its gradient and the update together, written in place of the
 * parameters before. While the device works, the graph of the next step is built.
 *
 * @throws {ConfigError} on a bad option; when the run starts, if a directory holds a run and `resume` is not set, or there is nothing to resume.
 * @throws {GradientError} from the step whose loss, or whose parameters at a checkpoint, are not finite. The last good checkpoint stays.
 */
export function train<P, B, A extends { readonly loss: Tensor }, S>(options: TrainOptions<P, B, A, S>): Run<P, A> {
  checkTrain(options);
  const state: { last?: Report<P, A> } = {};
  const reports = runOf(options, state);
  return {
    [Symbol.asyncIterator]: () => reports,
    async finish() {
      for (let next = await reports.next(); !next.done; next = await reports.next());
      if (state.last) return state.last;
      throw options.signal?.reason ?? new ConfigError("train: the run was ended before its first step");
    },
  };
}

function checkTrain<P, B, A extends { readonly loss: Tensor }, S>(options: TrainOptions<P, B, A, S>): void {
  checkOptions("train", options, {
    model: aModel,
    data: aFunction,
    optimizer: anObject,
    steps: positiveInteger,
    seed: wholeNumber,
    evaluate: anObject,
    checkpoint: anObject,
    resume: flag,
    signal: anObject,
  });
  requireOptions("train", options, "model", "data", "optimizer", "steps");
  if (options.evaluate)
    checkOptions("train: evaluate", options.evaluate, {
      data: aFunction,
      batches: positiveInteger,
      every: positiveInteger,
    });
  if (options.checkpoint) checkOptions("train: checkpoint", options.checkpoint, { dir: aPath, every: positiveInteger });
  if (options.resume && !options.checkpoint)
    throw new ConfigError("train: resume needs checkpoint, the directory to go on from");
}

const aModel: Rule = {
  must: "an object with the functions init and loss",
  holds: (value) =>
    anObject.holds(value) &&
    aFunction.holds((value as { init: unknown }).init) &&
    aFunction.holds((value as { loss: unknown }).loss),
};
const aPath: Rule = { must: "a path", holds: (value) => typeof value === "string" && value !== "" };

/** What a step computes, written but not run. */
interface Prepared<P, A, S> {
  readonly aux: A;
  readonly params: P;
  readonly state: S;
}

async function* runOf<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  run: { last?: Report<P, A> },
): AsyncGenerator<Report<P, A>, void> {
  const { model, data, steps, signal } = options;
  const [initKey, stepKey] = random.split(random.key(options.seed ?? 0));
  let { params, state, step, loss } = await beginning(options, initKey);
  if (step >= steps) {
    const aux = model.loss(params, await data(step - 1), { train: false, key: random.fold(stepKey, step - 1) });
    run.last = { step: step - 1, loss, aux, params };
    return;
  }
  const first = step;
  let prepared = await prepare(options, params, state, step, stepKey);
  let spent: Tensor[] = [];
  let saved: number | undefined;
  for (; step < steps && !signal?.aborted; step++) {
    const { aux } = prepared;
    const made = treeLeaves(aux).filter((t) => !leafStorage(valueNode(t.node)));
    const work = realize(prepared, { donate: [params, state, spent] });
    ({ params, state } = prepared);
    spent = made;
    const following = step + 1 < steps ? prepareMeanwhile(options, params, state, step + 1, stepKey) : prepared;
    [loss, prepared] = await Promise.all([aux.loss.item(), following, work]);
    if (!Number.isFinite(loss)) throw await nonFinite(options, `the loss of step ${step} is ${loss}`);
    const evaluation = await evaluateIfDue(options, params, step + 1);
    if (isDue(options.checkpoint, step + 1, steps)) saved = await save(options, params, state, step + 1, loss);
    run.last = { step, loss, aux, params, ...(evaluation && { evaluation }) };
    yield run.last;
  }
  if (options.checkpoint && step > first && saved !== step) await save(options, params, state, step, loss);
}

/** Where a run begins: anew, or where its checkpoint was made. */
async function beginning<P, B, A extends { readonly loss: Tensor }, S>(
  { model, optimizer, checkpoint, resume, seed = 0 }: TrainOptions<P, B, A, S>,
  initKey: Key,
): Promise<{ params: P; state: S; step: number; loss: number }> {
  const params = model.init(initKey);
  const state = optimizer.init(params);
  const [newest] = checkpoint ? (await stepsIn(checkpoint.dir)).slice(-1) : [];
  if (!resume) {
    if (newest !== undefined)
      throw new ConfigError(
        `train: ${checkpoint!.dir} holds a run of ${newest} steps; resume it, with resume: true, or give another directory`,
      );
    await realize([params, state]);
    return { params, state, step: 0, loss: NaN };
  }
  const dir = checkpoint!.dir;
  if (newest === undefined)
    throw new ConfigError(`train: ${dir} holds no run to resume; leave resume out to begin one there`);
  const training = await loadTraining<Training<S>>(dir, { state, step: 0, seed: 0, loss: 0 });
  if (training.seed !== seed)
    throw new ConfigError(
      `train: the run in ${dir} has the seed ${training.seed}, not ${seed}; resume it with its own`,
    );
  return { ...training, params: await loadCheckpoint(dir, params) };
}

/** What a step computes, written but not run. */
async function prepare<P, B, A extends { readonly loss: Tensor }, S>(
  { model, data, optimizer }: TrainOptions<P, B, A, S>,
  params: P,
  state: S,
  step: number,
  stepKey: Key,
): Promise<Prepared<P, A, S>> {
  const batch = await data(step);
  const key = random.fold(stepKey, step);
  const [aux, grads] = valueAndGrad((p: P) => model.loss(p, batch, { train: true, key }))(params);
  const [updated, next] = optimizer.update(params, grads, state);
  return { aux, params: model.afterStep ? model.afterStep(updated, aux) : updated, state: next };
}

/** The same, once the device has been given its work: building a graph keeps the program from handing over. */
async function prepareMeanwhile<P, B, A extends { readonly loss: Tensor }, S>(
  ...args: Parameters<typeof prepare<P, B, A, S>>
): Promise<Prepared<P, A, S>> {
  await new Promise<void>((resolve) => void (globalThis.setImmediate ?? setTimeout)(resolve));
  return prepare(...args);
}

const isDue = (when: { readonly every: number } | undefined, done: number, steps: number): boolean =>
  when !== undefined && (done % when.every === 0 || done === steps);

async function evaluateIfDue<P, B, A extends { readonly loss: Tensor }, S>(
  { model, evaluate: how, steps }: TrainOptions<P, B, A, S>,
  params: P,
  done: number,
): Promise<Evaluation | undefined> {
  return how && isDue(how, done, steps) ? evaluate({ model, params, data: how.data, batches: how.batches }) : undefined;
}

/** Writes the checkpoint, and only then lets go of the one before. */
async function save<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  params: P,
  state: S,
  step: number,
  loss: number,
): Promise<number> {
  const { dir } = options.checkpoint!;
  const finite = await Promise.all(treeLeaves(params).map((t) => t.isFinite().all().item()));
  if (!finite.every(Boolean)) throw await nonFinite(options, `parameters are not finite after step ${step - 1}`);
  const training: Training<S> = { state, step, seed: options.seed ?? 0, loss };
  await saveCheckpoint(checkpointOfStep(dir, step), params, training);
  await keepOnly(dir, step);
  return step;
}

async function nonFinite(
  { checkpoint }: { readonly checkpoint?: { readonly dir: string } },
  what: string,
): Promise<GradientError> {
  const [newest] = checkpoint ? (await stepsIn(checkpoint.dir)).slice(-1) : [];
  const kept = newest === undefined ? "" : `; the last good checkpoint is ${checkpointOfStep(checkpoint!.dir, newest)}`;
  return new GradientError(`train: ${what}; lower the learning rate, or clip gradients with clipByGlobalNorm${kept}`);
}
