import { ConfigError, type Tensor } from "@switchyard/tensor";
import type { Optimizer } from "@switchyard/autograd";
import {
  aFunction,
  anObject,
  checkOptions,
  flag,
  fraction,
  oneOf,
  positiveInteger,
  positiveNumber,
  requireOptions,
  type Rule,
  wholeNumber,
} from "@switchyard/tensor/graph";
import type { Model } from "../models/model.ts";
import type { Precision } from "./lossScale.ts";

export interface TrainOptions<P, B, A extends { readonly loss: Tensor }, S> {
  readonly model: Model<P, B, A>;
  /** The batch of a step. A pure function of the step, so that a run that goes on needs no more than the step. */
  readonly data: (step: number) => B | Promise<B>;
  readonly optimizer: Optimizer<S>;
  readonly steps: number;
  /** Decides the first parameters, and what the model draws at each step; 0 by default. */
  readonly seed?: number;
  /**
   * Batches of a step, 1 by default: step `s` takes the mean over `data(s · accumulate)` to `data((s + 1) · accumulate - 1)`, one at a time.
   * `afterStep` and the report see the last of them.
   */
  readonly accumulate?: number;
  /** The greatest global norm of a gradient; longer ones are scaled down to it. */
  readonly clip?: number;
  /** Keeps an average of the parameters, of which a step leaves so much, such as 0.999; evaluation then judges the average. */
  readonly ema?: number;
  /**
   * What loss and gradient are computed in, f32 by default. In f16, parameters and the optimizer's state stay f32; each step casts the parameters, but for those
   * that the model's `keepsF32` names (of our models, routers and norms), and multiplies the loss by a scale, 2^15 at first, so that small gradients do not vanish.
   * A step whose gradient is not finite is no update: parameters, state and average stay as they are, the count of updates that schedules go by too, and the scale
   * halves, down to 1; 200 others double it, up to 2^24. A model of your own casts the floats of its batches to the dtype of its parameters. Evaluation computes in f32.
   */
  readonly precision?: Precision;
  /** Judges by other data every so many steps, and after the last. */
  readonly evaluate?: {
    readonly data: (index: number) => B | Promise<B>;
    readonly batches: number;
    readonly every: number;
    /** What the best is least in, by its path in the evaluation; `loss` by default. */
    readonly by?: string;
    /** Ends the run after so many evaluations in a row that are not the best. */
    readonly patience?: number;
  };
  /**
   * Keeps checkpoints in a directory: every so many steps, after the last, and when `signal` ends the run or a loop over it is left; the newest of
   * them, two unless `keep` says how many, and, with `evaluate`, the best. Beside them, `metrics.jsonl` tells of each step. While the run goes on,
   * `run.lock` keeps other processes away.
   */
  readonly checkpoint?: { readonly dir: string; readonly every: number; readonly keep?: number };
  /** Goes on from the newest checkpoint, exactly as if the run had never ended; from the start, if it was killed before it had one. */
  readonly resume?: boolean;
  /** Ends the run after the step under way. */
  readonly signal?: AbortSignal;
}

/** @throws {ConfigError} on a bad option. */
export function checkTrain<P, B, A extends { readonly loss: Tensor }, S>(options: TrainOptions<P, B, A, S>): void {
  checkOptions("train", options, {
    model: aModel,
    data: aFunction,
    optimizer: anObject,
    steps: positiveInteger,
    seed: wholeNumber,
    accumulate: positiveInteger,
    clip: positiveNumber,
    ema: fraction,
    precision: oneOf("f32", "f16"),
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
      by: aPath,
      patience: positiveInteger,
    });
  if (options.checkpoint)
    checkOptions("train: checkpoint", options.checkpoint, {
      dir: aPath,
      every: positiveInteger,
      keep: positiveInteger,
    });
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
