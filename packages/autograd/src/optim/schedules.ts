import { ConfigError } from "@switchyard/tensor";

/** A learning rate for each step: a function of the number of updates made so far, 0 for the first. */
export type Schedule = (step: number) => number;

/** The same rate at every step. */
export const constant =
  (rate: number): Schedule =>
  () =>
    rate;

export interface LinearOptions {
  readonly from: number;
  readonly to: number;
  /** After so many steps the rate is `to`, and stays there. */
  readonly steps: number;
}

/** A straight line from one rate to another. */
export function linear({ from, to, steps }: LinearOptions): Schedule {
  checkSteps("linear", "steps", steps);
  return (step) => from + (to - from) * Math.min(step / steps, 1);
}

export interface CosineOptions {
  readonly peak: number;
  /** After so many steps the rate is `floor`, and stays there. */
  readonly steps: number;
  readonly floor?: number;
}

/** Half a cosine from `peak` down to `floor` (Loshchilov and Hutter, 2017, without restarts). */
export function cosine({ peak, steps, floor = 0 }: CosineOptions): Schedule {
  checkSteps("cosine", "steps", steps);
  return (step) => floor + ((peak - floor) * (1 + Math.cos(Math.PI * Math.min(step / steps, 1)))) / 2;
}

export interface WarmupCosineOptions extends CosineOptions {
  /** How many steps the rate rises, in a straight line, of all `steps`. */
  readonly warmup: number;
}

/** A straight rise to `peak`, reached with step `warmup - 1`, then `cosine` over what is left. */
export function warmupCosine({ peak, warmup, steps, floor }: WarmupCosineOptions): Schedule {
  checkSteps("warmupCosine", "steps", steps);
  if (!(warmup >= 0 && warmup < steps))
    throw new ConfigError(`warmupCosine: warmup must be at least 0 and less than steps ${steps}, got ${warmup}`);
  const fall = cosine({ peak, steps: steps - warmup, floor });
  return (step) => (step < warmup ? (peak * (step + 1)) / warmup : fall(step - warmup));
}

export interface InverseSqrtOptions {
  readonly peak: number;
  readonly warmup: number;
}

/** A straight rise to `peak` over `warmup` steps, then a fall with the square root of the step (Vaswani et al., 2017). */
export function inverseSqrt({ peak, warmup }: InverseSqrtOptions): Schedule {
  checkSteps("inverseSqrt", "warmup", warmup);
  return (step) => peak * Math.min((step + 1) / warmup, Math.sqrt(warmup / (step + 1)));
}

function checkSteps(name: string, option: string, value: number): void {
  if (!(value > 0)) throw new ConfigError(`${name}: ${option} must be positive, got ${value}`);
}
