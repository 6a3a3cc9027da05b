import { zerosLike } from "@switchyard/tensor";
import { checkOptions, fraction, requireOptions } from "@switchyard/tensor/graph";
import { blend } from "./adam.ts";
import { optimizer, optimizerRules, type Optimizer, type OptimizerOptions, type StateOf } from "./optimizer.ts";

export interface LionOptions extends OptimizerOptions {
  readonly beta1?: number;
  readonly beta2?: number;
}

export type LionState = StateOf<"mean">;

/** Lion (Chen et al., 2023): the sign of an average, with decoupled weight decay. Learning rates are 3 to 10 times below Adam's. */
export function lion(options: LionOptions): Optimizer<LionState> {
  checkOptions("lion", options, { ...optimizerRules, beta1: fraction, beta2: fraction });
  requireOptions("lion", options, "learningRate");
  const { beta1 = 0.9, beta2 = 0.99 } = options;
  return optimizer(
    "lion",
    {
      slots: ["mean"],
      init: (parameter) => ({ mean: zerosLike(parameter) }),
      update({ parameter, gradient, slots, learningRate, weightDecay }) {
        const direction = blend(slots.mean!, gradient, beta1).sign().mul(learningRate);
        return {
          parameter: parameter.mul(1 - learningRate * weightDecay).sub(direction),
          slots: { mean: blend(slots.mean!, gradient, beta2) },
        };
      },
    },
    options,
  );
}
