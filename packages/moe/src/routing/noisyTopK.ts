import { random, ShapeError, softmax, topK, zeros, zerosLike, type Tensor } from "@switchyard/tensor";
import {
  checkOptions,
  describe,
  nonNegative,
  positiveInteger,
  requireOptions,
  sameShape,
} from "@switchyard/tensor/graph";
import { checkChoices } from "./checks.ts";
import { choose } from "./choose.ts";
import { drawingKey, routerLogits } from "./gate.ts";
import { makeRouting } from "./makeRouting.ts";
import type { LogitRouting, RouteOptions, Router } from "./routing.ts";

export interface NoisyTopKOptions {
  /** Experts a token is sent to. */
  readonly k: number;
  /** The least standard deviation of the noise; 1e-2 by default. */
  readonly noiseEpsilon?: number;
}

export interface NoisyTopKParams {
  /** `[D, E]`. */
  readonly gate: Tensor;
  /** `[D, E]`: how much noise, by features. */
  readonly noise: Tensor;
}

/**
 * Noisy top-k gating: `H = x·gate + N(0, 1) · (softplus(x·noise) + noiseEpsilon)`, the k largest H of each token, weights
 * the softmax over those k. No noise outside training. Ties go to the lower expert, so an untrained router in evaluation
 * sends every token to experts 0..k-1; both weights start at zero, so in training the first choices are noise alone. For k = 1
 * the one weight is always 1, so that the router learns from its losses alone.
 *
 * Source: Shazeer et al. 2017, "Outrageously Large Neural Networks", equations 3 to 5 and appendix A; the epsilon is the
 * Tensor2Tensor implementation's.
 *
 * @throws {ConfigError} on a bad option; from `route`, if `train` is set without `key` or `noise`.
 */
export function noisyTopK(options: NoisyTopKOptions): Router<NoisyTopKParams, LogitRouting> {
  checkOptions("noisyTopK", options, { k: positiveInteger, noiseEpsilon: nonNegative });
  requireOptions("noisyTopK", options, "k");
  const { k, noiseEpsilon = 1e-2 } = options;
  return {
    init(_key, { dim, experts }) {
      checkChoices("noisyTopK", k, experts);
      return { gate: zeros([dim, experts]), noise: zeros([dim, experts]) };
    },
    route(params, x, routeOptions = {}) {
      const logits = routerLogits(x, params.gate); // [T, E]
      checkChoices("noisyTopK", k, logits.shape[1]);
      const noise = drawNoise(logits, routeOptions);
      const noiseStd = noise ? x.matmul(params.noise).softplus().add(noiseEpsilon) : zerosLike(logits);
      const noisyLogits = noise ? logits.add(noise.mul(noiseStd)) : logits;
      const { indices } = topK(noisyLogits, k);
      const weights = softmax(choose(noisyLogits, indices), -1); // [T, k]
      const routing = makeRouting({ experts: indices, weights, logits, mask: routeOptions.mask });
      return { ...routing, ...(noise && { noise }), noiseStd, noisyLogits };
    },
  };
}

function drawNoise(logits: Tensor, options: RouteOptions): Tensor | undefined {
  const { train = false, noise } = options;
  if (noise) {
    if (sameShape(noise.shape, logits.shape)) return noise;
    throw new ShapeError(`noisyTopK: noise must be [tokens, experts] = [${logits.shape}] (got ${describe(noise)})`);
  }
  if (!train) return undefined;
  const key = drawingKey("noisyTopK", "training draws noise and needs", options);
  return random.normal(key, logits.shape).cast(logits.dtype);
}
