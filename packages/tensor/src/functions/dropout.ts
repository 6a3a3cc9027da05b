import { checkFloat } from "../apply.ts";
import { ConfigError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { where } from "./elementwise.ts";
import { bernoulli, type Key } from "./random.ts";

/**
 * Zeros each element with probability `rate` and scales the others by `1 / (1 - rate)`, which keeps the mean.
 *
 * @param rate in [0, 1); data, so a schedule recompiles nothing.
 * @throws {ConfigError} for any other rate.
 */
export function dropout<D extends DType>(key: Key, x: Tensor<D>, rate: number): Tensor<D> {
  checkFloat("dropout", x);
  if (!(rate >= 0 && rate < 1)) throw new ConfigError(`dropout: rate must be in [0, 1), got ${rate}`);
  return where(bernoulli(key, x.shape, { p: 1 - rate }), x.mul(1 / (1 - rate)), 0) as Tensor<D>;
}
