import { zerosLike } from "@switchyard/tensor";
import { checkOptions, flag, fraction, requireOptions } from "@switchyard/tensor/graph";
import { optimizer, optimizerRules, type Optimizer, type OptimizerOptions, type StateOf } from "./optimizer.ts";

export interface SgdOptions extends OptimizerOptions {
  readonly momentum?: number;
  /** Look ahead along the momentum (Nesterov, in the form of Sutskever et al., 2013). */
  readonly nesterov?: boolean;
}

export type SgdState = StateOf<"velocity">;

/** Gradient descent: `v <- momentum v + g; p <- p - rate v`, weight decay being part of the gradient. */
export function sgd(options: SgdOptions): Optimizer<SgdState> {
  checkOptions("sgd", options, { ...optimizerRules, momentum: fraction, nesterov: flag });
  requireOptions("sgd", options, "learningRate");
  const { momentum = 0, nesterov = false } = options;
  return optimizer(
    "sgd",
    {
      slots: ["velocity"],
      init: (parameter) => ({ velocity: momentum === 0 ? null : zerosLike(parameter) }),
      update({ parameter, gradient, slots, learningRate, weightDecay }) {
        const g = weightDecay === 0 ? gradient : gradient.add(parameter.mul(weightDecay));
        const velocity = slots.velocity ? slots.velocity.mul(momentum).add(g) : null;
        const direction = velocity === null ? g : nesterov ? velocity.mul(momentum).add(g) : velocity;
        return { parameter: parameter.sub(direction.mul(learningRate)), slots: { velocity } };
      },
    },
    options,
  );
}
