import { random, realize, type Key, type Tensor } from "@switchyard/tensor";
import {
  clipByGlobalNorm,
  globalNorm,
  treeFlatten,
  treeLeaves,
  treeMap,
  treeUnflatten,
  valueAndGrad,
  type Optimizer,
} from "@switchyard/autograd";
import { isFloat, leafStorage, valueNode } from "@switchyard/tensor/graph";
import type { Model } from "../models/model.ts";
import { optional } from "./optional.ts";
import { ifTaken, inHalves, judged, unscaled, type LossScale } from "./lossScale.ts";

/** What decides a step, of the options of `train`. */
export interface StepOptions<P, B, A extends { readonly loss: Tensor }, S> {
  readonly model: Model<P, B, A>;
  readonly data: (step: number) => B | Promise<B>;
  readonly optimizer: Optimizer<S>;
  readonly accumulate?: number;
  readonly clip?: number;
  readonly ema?: number;
}

/** What a run carries from step to step. */
export interface Trained<P, S> {
  readonly params: P;
  readonly state: S;
  /** The exponential moving average of the parameters, if one is kept. */
  readonly average?: P;
  /** In f16. */
  readonly lossScale?: LossScale;
}

/** What a step computes, written but not run. */
export interface Prepared<P, A, S> extends Trained<P, S> {
  readonly aux: A;
  /** The mean over the batches of the step. */
  readonly loss: Tensor;
  /** Before clipping, if gradients are clipped. */
  readonly gradientNorm?: Tensor;
  /** In f16, `bool[]`: whether the step is an update. Where it is not, its tensors are those before it, and `skipped` gives its numbers back. */
  readonly taken?: Tensor;
  /** What all batches but the last came to, if there are several. The step spends it. */
  readonly accumulated?: unknown;
}

/**
 * Writes the graph of a step. With `accumulate`, all batches but the last are run meanwhile, one at a time, so that only one holds
 * its activations.
 *
 * @param stepKey what the keys of all batches are folded from.
 */
export async function prepareStep<P, B, A extends { readonly loss: Tensor }, S>(
  options: StepOptions<P, B, A, S>,
  before: Trained<P, S>,
  step: number,
  stepKey: Key,
): Promise<Prepared<P, A, S>> {
  const { model, optimizer, clip, ema } = options;
  const { params, state, average = params, lossScale } = before;
  const { aux, loss, grads, accumulated } = await gradientOf(options, before, step, stepKey);
  const gradientNorm = clip === undefined ? undefined : globalNorm(grads);
  const [updated, next] = optimizer.update(params, clip === undefined ? grads : clipByGlobalNorm(grads, clip), state);
  const after = model.afterStep ? model.afterStep(updated, aux) : updated;
  const trained = {
    params: after,
    state: next,
    ...(ema !== undefined && { average: averaged(average, after, ema, step) }),
  };
  const prepared = { aux, loss, ...optional({ gradientNorm, accumulated }) };
  if (!lossScale) return { ...prepared, ...trained };
  const verdict = judged(grads, lossScale);
  const kept = ifTaken(verdict.taken, trained, { params, state, ...(ema !== undefined && { average }) });
  return { ...prepared, ...kept, ...verdict };
}

/** What a step that is no update leaves: its tensors, and of the trees before it all else, such as an optimizer's count of updates. */
export function skipped<P, S>(before: Trained<P, S>, after: Trained<P, S>): Trained<P, S> {
  const numbersOf = <T>(tree: T, tensors: T): T => treeUnflatten(treeFlatten(tree)[1], treeLeaves(tensors));
  return { ...after, params: numbersOf(before.params, after.params), state: numbersOf(before.state, after.state) };
}

/** The mean of loss and gradient over the batches of a step, and what the last of them came with. */
async function gradientOf<P, B, A extends { readonly loss: Tensor }, S>(
  { model, data, accumulate = 1 }: StepOptions<P, B, A, S>,
  { params, lossScale }: Trained<P, S>,
  step: number,
  stepKey: Key,
): Promise<{ aux: A; loss: Tensor; grads: P; accumulated: unknown }> {
  const of = async (batch: number): Promise<[A, P]> => {
    const [inputs, key] = [await data(batch), random.fold(stepKey, batch)];
    if (!lossScale) return valueAndGrad((p: P) => model.loss(p, inputs, { train: true, key }))(params);
    const scaled = (p: P) => {
      const aux = model.loss(inHalves(p, model.keepsF32), inputs, { train: true, key });
      return { aux, loss: aux.loss.cast("f32").mul(lossScale.scale) };
    };
    const [{ aux }, grads] = valueAndGrad(scaled)(params);
    return [aux, grads];
  };
  const first = step * accumulate;
  let sum: { loss: Tensor; grads: P } | undefined;
  for (let batch = first; batch < first + accumulate - 1; batch++) {
    const [{ loss }, grads] = await of(batch);
    const next = added(sum, loss, grads);
    await realize(next, { donate: [sum] });
    sum = next;
  }
  const [aux, last] = await of(first + accumulate - 1);
  const total = added(sum, aux.loss, last);
  const mean = (x: Tensor): Tensor => (accumulate > 1 && isFloat(x.dtype) ? x.div(accumulate) : x);
  const gradsOfMean = treeMap(mean, total.grads);
  const grads = lossScale ? unscaled(gradsOfMean, lossScale) : gradsOfMean;
  return { aux, loss: mean(total.loss), grads, accumulated: sum };
}

function added<P>(sum: { loss: Tensor; grads: P } | undefined, loss: Tensor, grads: P): { loss: Tensor; grads: P } {
  if (!sum) return { loss, grads };
  return { loss: sum.loss.add(loss), grads: treeMap((g, before) => before.add(g), grads, sum.grads) };
}

/** Slower at first, so that the average does not keep the first parameters for long: `min(ema, (1 + step) / (10 + step))`. */
function averaged<P>(average: P, params: P, ema: number, step: number): P {
  const keep = Math.min(ema, (1 + step) / (10 + step));
  return treeMap((old, now) => (isFloat(old.dtype) ? old.mul(keep).add(now.mul(1 - keep)) : now), average, params);
}

/** The tensors of a tree that are still to be computed, and so are nobody else's. */
export const unrealized = (tree: unknown): Tensor[] => treeLeaves(tree).filter((t) => !leafStorage(valueNode(t.node)));
