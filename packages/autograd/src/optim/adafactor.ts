import { maximum, zerosLike, type Tensor } from "@switchyard/tensor";
import { checkOptions, nonNegative } from "@switchyard/tensor/graph";
import { blend } from "./adam.ts";
import { optimizer, optimizerRules, type Optimizer, type OptimizerOptions, type StateOf } from "./optimizer.ts";

export interface AdafactorOptions extends Partial<OptimizerOptions> {
  /** The averages forget as `1 - step ** -decay`. */
  readonly decay?: number;
  /** The largest root mean square of an update before the learning rate. */
  readonly clip?: number;
}

export type AdafactorState = StateOf<"row" | "column" | "variance">;

const tiny = 1e-30;
const smallestScale = 1e-3;

const rms = (x: Tensor): Tensor => x.square().mean().sqrt();

/** The rate of the paper, where none is given: relative to the size of the parameter. */
const relativeStep = (step: number): number => Math.min(1e-2, 1 / Math.sqrt(step + 1));

/**
 * Adafactor (Shazeer and Stern, 2018, algorithms 4 and 5): second moments of matrices kept as their row and column means, so
 * that the state is far smaller than the parameters. Of tensors with more axes, the last two are the matrix.
 *
 * A learning rate, if given, is absolute; without one it is `min(0.01, 1 / sqrt(step))` times the parameter's root mean square.
 */
export function adafactor(options: AdafactorOptions = {}): Optimizer<AdafactorState> {
  checkOptions("adafactor", options, { ...optimizerRules, decay: nonNegative, clip: nonNegative });
  const { decay = 0.8, clip = 1, learningRate } = options;
  const scaled = (parameter: Tensor, rate: number): Tensor | number =>
    learningRate === undefined ? maximum(rms(parameter), smallestScale).mul(rate) : rate;
  return optimizer(
    "adafactor",
    {
      slots: ["row", "column", "variance"],
      init: (parameter) =>
        parameter.ndim < 2
          ? { row: null, column: null, variance: zerosLike(parameter) }
          : { row: zerosLike(parameter.mean(-1)), column: zerosLike(parameter.mean(-2)), variance: null },
      update({ parameter, gradient, slots, step, learningRate: rate, weightDecay }) {
        const beta = 1 - step ** -decay;
        const squared = gradient.square().add(tiny);
        const row = slots.row && blend(slots.row, squared.mean(-1), beta);
        const column = slots.column && blend(slots.column, squared.mean(-2), beta);
        const variance = slots.variance && blend(slots.variance, squared, beta);
        const root = variance ? variance.sqrt() : factoredRoot(row!, column!);
        const direction = gradient.div(root);
        const clipped = direction.div(maximum(rms(direction).div(clip), 1));
        const shrunk = weightDecay === 0 ? parameter : parameter.mul(1 - rate * weightDecay);
        return { parameter: shrunk.sub(clipped.mul(scaled(parameter, rate))), slots: { row, column, variance } };
      },
    },
    { ...options, learningRate: learningRate ?? relativeStep },
  );
}

/** `sqrt(row ⊗ column / mean(row))`: `[..., n] and [..., m] -> [..., n, m]`; roots first, so that nothing underflows. */
function factoredRoot(row: Tensor, column: Tensor): Tensor {
  const rows = row.div(row.mean(-1, { keepDims: true })).sqrt();
  return rows.expandDims(-1).mul(column.sqrt().expandDims(-2));
}
