import { zerosLike, type Tensor } from "@switchyard/tensor";
import { checkOptions, fraction, nonNegative, requireOptions } from "@switchyard/tensor/graph";
import {
  optimizer,
  optimizerRules,
  type Optimizer,
  type OptimizerOptions,
  type Rule,
  type StateOf,
} from "./optimizer.ts";

export interface AdamOptions extends OptimizerOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
}

export type AdamState = StateOf<"mean" | "variance">;

/** Adam's step, `m̂ / (sqrt(v̂) + eps)`, with bias corrections that are numbers worked out on the host. */
function adamRule(
  { beta1 = 0.9, beta2 = 0.999, eps = 1e-8 }: AdamOptions,
  decoupled: boolean,
): Rule<"mean" | "variance"> {
  return {
    slots: ["mean", "variance"],
    init: (parameter) => ({ mean: zerosLike(parameter), variance: zerosLike(parameter) }),
    update({ parameter, gradient, slots, step, learningRate, weightDecay }) {
      const g = decoupled ? gradient : gradient.add(parameter.mul(weightDecay));
      const mean = blend(slots.mean!, g, beta1);
      const variance = blend(slots.variance!, g.square(), beta2);
      const corrected = variance.div(1 - beta2 ** step).sqrt();
      const direction = mean.div(corrected.add(eps)).mul(learningRate / (1 - beta1 ** step));
      const shrunk = decoupled ? parameter.mul(1 - learningRate * weightDecay) : parameter;
      return { parameter: shrunk.sub(direction), slots: { mean, variance } };
    },
  };
}

/** An exponential moving average: `beta old + (1 - beta) new`. */
export const blend = (old: Tensor, next: Tensor, beta: number): Tensor => old.mul(beta).add(next.mul(1 - beta));

function checkAdam(name: string, options: AdamOptions): AdamOptions {
  checkOptions(name, options, { ...optimizerRules, beta1: fraction, beta2: fraction, eps: nonNegative });
  requireOptions(name, options, "learningRate");
  return options;
}

/** Adam (Kingma and Ba, 2015); weight decay is part of the gradient. */
export const adam = (options: AdamOptions): Optimizer<AdamState> =>
  optimizer("adam", adamRule(checkAdam("adam", options), false), options);

/** AdamW (Loshchilov and Hutter, 2019): weight decay shrinks the parameter, by the learning rate, outside of the averages. */
export const adamw = (options: AdamOptions): Optimizer<AdamState> =>
  optimizer("adamw", adamRule(checkAdam("adamw", options), true), options);
