import type { Tensor } from "@switchyard/tensor";
import { checkOptions, nonNegative, oneOf, type Rules } from "@switchyard/tensor/graph";

export interface CvSquaredOptions {
  /** Divide the squared deviations by n (`population`, the default) or by n - 1 (`unbiased`). */
  readonly variance?: "population" | "unbiased";
  /** Added to the squared mean; 1e-10 by default. */
  readonly eps?: number;
}

export const cvSquaredRules: Rules<CvSquaredOptions> = {
  variance: oneOf("population", "unbiased"),
  eps: nonNegative,
};

/**
 * The squared coefficient of variation, `variance(v) / (mean(v)² + eps)`: how uneven v is, whatever its scale. At perfect
 * balance value and gradient are 0, as no square root is taken; so are those of a single element, under either variance.
 *
 * Source: Shazeer et al. 2017, equation 7. Implementations differ in the variance: Tensor2Tensor has the population's, some others the unbiased.
 *
 * @param v any shape; all its elements count.
 * @returns a scalar.
 */
export function cvSquared(v: Tensor, options: CvSquaredOptions = {}): Tensor {
  checkOptions("cvSquared", options, cvSquaredRules);
  const { variance = "population", eps = 1e-10 } = options;
  const correction = variance === "unbiased" && v.size > 1 ? 1 : 0;
  return v.variance(undefined, { correction }).div(v.mean().square().add(eps));
}
