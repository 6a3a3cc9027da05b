import { ConfigError, GradientError, realize, type Key, type Tensor } from "@switchyard/tensor";
import { treeLeaves } from "@switchyard/autograd";
import { loadCheckpoint, loadTraining, saveCheckpoint } from "./checkpoint.ts";
import type { Evaluation } from "./evaluate.ts";
import { checkpointOfStep, keepOnly, stepsIn } from "./history.ts";
import { metricsLog } from "./runLog.ts";
import type { Trained } from "./step.ts";
import type { TrainOptions } from "./trainOptions.ts";

/** Which evaluation was the best, and how long ago. */
interface Best {
  /** Steps done by then; null if there was none yet. */
  readonly step: number | null;
  readonly value: number | null;
  /** Evaluations since. */
  readonly since: number;
}

/** What a checkpoint remembers beside the parameters. */
interface Training<P, S> {
  readonly state: S;
  readonly average: P | null;
  /** Steps done. */
  readonly step: number;
  readonly seed: number;
  /** Of the last step. */
  readonly loss: number;
  readonly best: Best;
}

/** Where a run stands between two steps. */
export interface Standing<P, S> extends Trained<P, S> {
  readonly step: number;
  readonly loss: number;
  readonly best: Best;
}

/** Where a run begins: anew, or where its checkpoint was made. */
export async function beginning<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  initKey: Key,
): Promise<Standing<P, S>> {
  const { model, optimizer, checkpoint, resume, ema } = options;
  const params = model.init(initKey);
  const state = optimizer.init(params);
  const none: Best = { step: null, value: null, since: 0 };
  const anew = { params, state, ...(ema !== undefined && { average: params }), step: 0, loss: NaN, best: none };
  const newest = checkpoint && (await stepsIn(checkpoint.dir)).at(-1);
  if (resume && newest !== undefined) return whereSaved(options, anew);
  if (resume && !(await metricsLog.isBegun(checkpoint!.dir)))
    throw new ConfigError(`train: ${checkpoint!.dir} holds no run to resume; leave resume out to begin one there`);
  if (newest !== undefined)
    throw new ConfigError(
      `train: ${checkpoint!.dir} holds a run of ${newest} steps; resume it, with resume: true, or give another directory`,
    );
  await realize([params, state]);
  if (checkpoint) await metricsLog.rewind(checkpoint.dir, 0);
  return anew;
}

/** Where the newest checkpoint was made. */
async function whereSaved<P, B, A extends { readonly loss: Tensor }, S>(
  { checkpoint, seed = 0 }: TrainOptions<P, B, A, S>,
  { params, state, average, best }: Standing<P, S>,
): Promise<Standing<P, S>> {
  const { dir } = checkpoint!;
  const like: Training<P, S> = { state, average: average ?? null, step: 0, seed: 0, loss: 0, best };
  const { average: saved, seed: its, ...training } = await loadTraining(dir, like);
  if (its !== seed)
    throw new ConfigError(`train: the run in ${dir} has the seed ${its}, not ${seed}; resume it with its own`);
  await metricsLog.rewind(dir, training.step);
  return { ...training, ...(saved !== null && { average: saved }), params: await loadCheckpoint(dir, params) };
}

/** The best evaluation, one more taken into account. */
export function bestAfter<P, B, A extends { readonly loss: Tensor }, S>(
  { evaluate: how }: TrainOptions<P, B, A, S>,
  best: Best,
  evaluation: Evaluation | undefined,
  step: number,
): Best {
  if (!evaluation) return best;
  const by = how!.by ?? "loss";
  if (!Object.hasOwn(evaluation, by))
    throw new ConfigError(`train: evaluate: by is "${by}", but there are ${Object.keys(evaluation).join(", ")}`);
  const value = evaluation[by];
  // Not a number is never the best.
  return value < (best.value ?? Infinity) ? { step, value, since: 0 } : { ...best, since: best.since + 1 };
}

/** Writes the checkpoint, and only then lets go of older ones. */
export async function save<P, B, A extends { readonly loss: Tensor }, S>(
  options: TrainOptions<P, B, A, S>,
  { params, ...at }: Standing<P, S>,
): Promise<number> {
  const { dir, keep = 2 } = options.checkpoint!;
  const finite = await Promise.all(treeLeaves(params).map((t) => t.isFinite().all().item()));
  if (!finite.every(Boolean)) throw await nonFinite(options, `parameters are not finite after step ${at.step - 1}`);
  const training: Training<P, S> = { ...at, average: at.average ?? null, seed: options.seed ?? 0 };
  await metricsLog.settle(dir);
  await saveCheckpoint(checkpointOfStep(dir, at.step), params, training);
  const newest = (await stepsIn(dir)).slice(-keep);
  await keepOnly(dir, at.best.step === null ? newest : [...newest, at.best.step]);
  return at.step;
}

/** The error of a run that has gone astray. */
export async function nonFinite(
  { checkpoint }: { readonly checkpoint?: { readonly dir: string } },
  what: string,
): Promise<GradientError> {
  const newest = checkpoint && (await stepsIn(checkpoint.dir)).at(-1);
  const kept = newest === undefined ? "" : `; the last good checkpoint is ${checkpointOfStep(checkpoint!.dir, newest)}`;
  return new GradientError(`train: ${what}; lower the learning rate, or clip gradients with clip${kept}`);
}
