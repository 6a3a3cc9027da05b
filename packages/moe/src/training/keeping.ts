import { ConfigError, type GradientError, type Tensor } from "@switchyard/tensor";
import { treeLeaves } from "@switchyard/autograd";
import { routingStatistics } from "../diagnostics/routingStatistics.ts";
import { aboutTimes } from "./aboutTimes.ts";
import { loadCheckpoint, loadTraining, saveCheckpoint } from "./checkpoint.ts";
import { checkpointOfStep, keepOnly, stepsIn } from "./history.ts";
import type { LossScale, Precision } from "./lossScale.ts";
import { optional } from "./optional.ts";
import { metricsLog } from "./runLog.ts";
import { scalarsOf } from "./scalars.ts";
import { nonFinite, type Best, type Standing } from "./standing.ts";
import type { Report } from "./train.ts";
import type { TrainOptions } from "./trainOptions.ts";

export { lockRun } from "./runLock.ts";

// What a run does on the disk. `train` loads this file when a run asks for it: a page that keeps nothing need not have it.

/** What a checkpoint remembers beside the parameters. */
interface Training<P, S> {
  readonly state: S;
  readonly average: P | null;
  readonly lossScale: LossScale | null;
  /** Steps done. */
  readonly step: number;
  readonly seed: number;
  /** How much of the average a step leaves; null if none is kept. */
  readonly ema: number | null;
  readonly precision: Precision;
  /** Of the last step. */
  readonly loss: number;
  readonly best: Best;
}

/** Asked before the lock, which makes a directory. @throws {ConfigError} if there is no run to resume. */
export async function checkBegun(dir: string): Promise<void> {
  if ((await stepsIn(dir)).length > 0 || (await metricsLog.isBegun(dir))) return;
  throw new ConfigError(`train: ${dir} holds no run to resume; leave resume out to begin one there`);
}

/** Where a run begins: at its start, or where its newest checkpoint was made. */
export async function beginning<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  start: Standing<P, S>,
): Promise<Standing<P, S>> {
  const { dir } = options.checkpoint!;
  const newest = (await stepsIn(dir)).at(-1);
  if (options.resume && newest !== undefined) return whereSaved(options, start);
  if (newest !== undefined)
    throw new ConfigError(
      `train: ${dir} holds a run of ${newest} steps; resume it, with resume: true, or give another directory`,
    );
  await metricsLog.rewind(dir, 0);
  return start;
}

/** Where the newest checkpoint was made. */
async function whereSaved<P, B, A extends { readonly loss: Tensor }, S>(
  { checkpoint, seed = 0, ema: decay, precision = "f32" }: TrainOptions<P, B, A, S>,
  { params, state, average, lossScale, best }: Standing<P, S>,
): Promise<Standing<P, S>> {
  const { dir } = checkpoint!;
  const ema = decay ?? null;
  // First what the run is: where that differs, the rest would not fit, and would not say why.
  const its = await loadTraining(dir, { seed, ema, precision });
  if (its.seed !== seed)
    throw new ConfigError(`train: the run in ${dir} has the seed ${its.seed}, not ${seed}; resume it with its own`);
  if (its.ema !== ema)
    throw new ConfigError(
      `train: the run in ${dir} has the ema ${its.ema ?? "none"}, not ${ema ?? "none"}; resume it with its own`,
    );
  if (its.precision !== precision)
    throw new ConfigError(
      `train: the run in ${dir} has the precision ${its.precision}, not ${precision}; resume it with its own`,
    );
  const kept = { average: average ?? null, lossScale: lossScale ?? null };
  const like: Training<P, S> = { state, ...kept, step: 0, seed, ema, precision, loss: 0, best };
  const { average: saved, lossScale: scale, ...training } = await loadTraining(dir, like);
  await metricsLog.rewind(dir, training.step);
  return {
    ...training,
    ...(saved !== null && { average: saved }),
    ...(scale !== null && { lossScale: scale }),
    params: await loadCheckpoint(dir, params),
  };
}

const toldOf = aboutTimes(200);

/** Adds a step to the run's log. @param state of the optimizer, before the step. */
export async function note<P, B, A extends { readonly loss: Tensor }, S>(
  { optimizer, steps, checkpoint }: TrainOptions<P, B, A, S>,
  { step, loss, aux, gradientNorm: norm, lossScale, evaluation }: Report<P, A>,
  state: S,
): Promise<void> {
  const [scalars, routing] = await Promise.all([
    scalarsOf(aux),
    toldOf(step + 1, steps) ? routingStatistics(aux) : undefined,
  ]);
  const gradientNorm = Number.isFinite(norm) ? norm : undefined;
  const learningRate = optimizer.learningRate?.(state);
  await metricsLog.note(checkpoint!.dir, {
    step: step + 1,
    time: Date.now(),
    scalars: { ...scalars, loss },
    ...optional({ learningRate, gradientNorm, lossScale, evaluation, routing }),
  });
}

/** Writes the checkpoint, and only then lets go of older ones. */
export async function save<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  { params, ...at }: Standing<P, S>,
): Promise<number> {
  const { dir, keep = 2 } = options.checkpoint!;
  const finite = await Promise.all(treeLeaves(params).map((t) => t.isFinite().all().item()));
  if (!finite.every(Boolean)) throw await astray(dir, `parameters are not finite after step ${at.step - 1}`);
  const training: Training<P, S> = {
    ...at,
    average: at.average ?? null,
    lossScale: at.lossScale ?? null,
    seed: options.seed ?? 0,
    ema: options.ema ?? null,
    precision: options.precision ?? "f32",
  };
  await metricsLog.settle(dir);
  await saveCheckpoint(checkpointOfStep(dir, at.step), params, training);
  const newest = (await stepsIn(dir)).slice(-keep);
  await keepOnly(dir, at.best.step === null ? newest : [...newest, at.best.step]);
  return at.step;
}

/** The error of a run that has gone astray. */
export async function astray(dir: string, what: string): Promise<GradientError> {
  const newest = (await stepsIn(dir)).at(-1);
  return nonFinite(what, newest === undefined ? "" : `; the last good checkpoint is ${checkpointOfStep(dir, newest)}`);
}
