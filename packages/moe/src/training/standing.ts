import { ConfigError, GradientError, type Key, type Tensor } from "@switchyard/tensor";
import type { Evaluation } from "./evaluate.ts";
import { firstLossScale } from "./lossScale.ts";
import type { Trained } from "./step.ts";
import type { TrainOptions } from "./trainOptions.ts";

/** Which evaluation was the best, and how long ago. */
export interface Best {
  /** Steps done by then; null if there was none yet. */
  readonly step: number | null;
  readonly value: number | null;
  /** Evaluations since. */
  readonly since: number;
}

/** Where a run stands between two steps. */
export interface Standing<P, S> extends Trained<P, S> {
  readonly step: number;
  readonly loss: number;
  readonly best: Best;
}

/** Where a new run begins. */
export function startOf<P, B, A extends { readonly loss: Tensor }, S>(
  { model, optimizer, ema, precision }: TrainOptions<P, B, A, S>,
  initKey: Key,
): Standing<P, S> {
  const params = model.init(initKey);
  const best: Best = { step: null, value: null, since: 0 };
  const average = ema === undefined ? {} : { average: params };
  const lossScale = precision === "f16" ? { lossScale: firstLossScale() } : {};
  return { params, state: optimizer.init(params), ...average, ...lossScale, step: 0, loss: NaN, best };
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

/** The error of a run that has gone astray. */
export const nonFinite = (what: string, kept = ""): GradientError =>
  new GradientError(`train: ${what}; lower the learning rate, or clip gradients with clip${kept}`);
