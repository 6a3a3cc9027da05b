import type { Tensor } from "../tensor.ts";
import type { FloatDType } from "../types.ts";

/** Numerator and denominator, lowest power first. */
type Rational = readonly [numerator: readonly number[], denominator: readonly number[]];

/** Fitted on r >= 2^-25 in y = (r(1 - r))^(1/4): relative error 2.7e-8 before rounding. */
const SINGLE: Rational = [
  [14.773082733154297, 5012.0634765625, 244955.234375, 2292888, 2341287.25, 1012134.1875, -179566.21875],
  [1, 423.85089111328125, 25850.419921875, 337873.625, 902310.25, 832754.8125, 1313201],
];

/** Fitted on r >= 2^-54 in y = sqrt(-log(r(1 - r))): relative error 1.5e-14 before rounding. */
const DOUBLE: Rational = [
  [
    1.6747775338115052, -2.7099531708522884, 2.824940566490169, -2.066979266839344, 1.188636147665141,
    -0.5246025137368941, 0.1688344292379617, -0.02738977593270275, -0.006823717588456117, 0.006885634380769198,
    -0.002615087455836537, 0.0005962119977760855, -7.99184810285326e-5, 5.164017863306532e-6,
  ],
  [
    1, -1.6204589599541663, 1.379568137345371, -0.7475084794914805, 0.2898774727816193, -0.08790088228853801,
    0.025995156041676914, -0.009112791074287984, 0.0033803569943449945, -0.0010153143908974373, 0.00021540569224654617,
    -2.8264714674364734e-5, 1.8262764462721355e-6,
  ],
];

function horner(coefficients: readonly number[], y: Tensor): Tensor {
  const [next, ...rest] = coefficients.toReversed().slice(1);
  return rest.reduce((sum, c) => sum.mul(y).add(c), y.mul(coefficients.at(-1)!).add(next));
}

/**
 * The quantile of the standard normal: the z with `normalCdf(z) = 1/2 + q`.
 *
 * z/q is even in q, so it is a smooth function of r(1 - r) alone, with its one singularity at 0; a root or a logarithm draws
 * that out, and one rational function serves centre and tails. In f32 there are square roots only, no logarithm, because devices disagree
 * about those. Within 4 ulps or 1e-6 in f32, 1e-13 in f64.
 *
 * @param q in (-1/2, 1/2).
 * @param r the smaller tail, `1/2 - |q|`, given apart because q near 1/2 has lost it; at least 2^-25 in f32, 2^-54 in f64.
 */
export function normalQuantile<D extends FloatDType>(q: Tensor<D>, r: Tensor<D>): Tensor<D> {
  const product = r.mul(r.neg().add(1));
  const [[numerator, denominator], y] =
    q.dtype === "f32" ? [SINGLE, product.sqrt().sqrt()] : [DOUBLE, product.log().neg().sqrt()];
  return q.mul(horner(numerator, y).div(horner(denominator, y)));
}
