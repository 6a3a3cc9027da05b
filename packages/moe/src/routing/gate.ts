import { ConfigError, mark, random, type Key, type Tensor } from "@switchyard/tensor";
import type { RouteOptions, RouterSizes } from "./routing.ts";

export interface GateParams {
  /** `[D, E]`. */
  readonly gate: Tensor;
}

/** Normal with standard deviation `1 / sqrt(D)`: logits of features of variance 1 have variance 1. */
export const initGate = (key: Key, { dim, experts }: RouterSizes): GateParams => ({
  gate: random.normal(key, [dim, experts]).mul(dim ** -0.5),
});

/** Logits, marked as those whose gradient `explainRouter` takes apart. */
export const asRouterLogits = (logits: Tensor): Tensor => mark("logits", logits, { role: "router logits" });

/** `x·gate`, `[T, E]`, marked. */
export const routerLogits = (x: Tensor, gate: Tensor): Tensor => asRouterLogits(x.matmul(gate));

/**
 * The router's input times uniform numbers in `[1 - jitter, 1 + jitter]`, in training; what experts see stays as it is.
 *
 * Source: Fedus et al. 2021, "Switch Transformers", section 2.2.
 *
 * @throws {ConfigError} if jitter is to be drawn without `key`.
 */
export function jittered(op: string, x: Tensor, jitter: number, options: RouteOptions): Tensor {
  if (jitter === 0 || !options.train) return x;
  const key = drawingKey(op, "jitter is drawn in training and needs", options);
  return x.mul(random.uniform(key, x.shape, { min: 1 - jitter, max: 1 + jitter }).cast(x.dtype));
}

/** @throws {ConfigError} if there is no key to draw by. */
export function drawingKey(op: string, why: string, { key }: Pick<RouteOptions, "key">): Key {
  if (key) return key;
  throw new ConfigError(`${op}: ${why} a key; pass { train: true, key: random.key(…) }, a new one each step`);
}
