import { ConfigError, random, type Key, type Tensor } from "@switchyard/tensor";
import { positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import type { Model } from "../models/model.ts";
import { scalarsOf } from "./scalars.ts";

/** Means over batches, by path in what the model's `loss` returns: `loss`, `crossEntropy`, … */
export type Evaluation = { readonly [path: string]: number };

export interface EvaluateOptions<P, B, A extends { readonly loss: Tensor }> {
  readonly model: Model<P, B, A>;
  readonly params: P;
  /** The batch of an index from 0. */
  readonly data: (index: number) => B | Promise<B>;
  readonly batches: number;
  /** For models that draw numbers in evaluation too; that of seed 0 by default. */
  readonly key?: Key;
}

/**
 * The mean over batches of each scalar that the model's loss comes with, without training.
 *
 * @throws {ConfigError} on a bad option.
 */
export async function evaluate<P, B, A extends { readonly loss: Tensor }>(
  options: EvaluateOptions<P, B, A>,
): Promise<Evaluation> {
  requireOptions("evaluate", options, "model", "params", "data", "batches");
  const { model, params, data, batches, key = random.key(0) } = options;
  if (!positiveInteger.holds(batches))
    throw new ConfigError(`evaluate: batches must be ${positiveInteger.must}, got ${batches}`);
  const sums: { [path: string]: number } = {};
  for (let i = 0; i < batches; i++) {
    const value = model.loss(params, await data(i), { train: false, key: random.fold(key, i) });
    for (const [path, x] of Object.entries(await scalarsOf(value))) sums[path] = (sums[path] ?? 0) + x;
  }
  return Object.fromEntries(Object.entries(sums).map(([path, sum]) => [path, sum / batches]));
}
