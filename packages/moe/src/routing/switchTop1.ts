import { checkOptions, fraction } from "@switchyard/tensor/graph";
import type { GateParams } from "./gate.ts";
import type { LogitRouting, Router } from "./routing.ts";
import { softmaxTopK } from "./softmaxTopK.ts";

export interface SwitchTop1Options {
  /** 1e-2 by default; 0 for none. See `softmaxTopK`. */
  readonly jitter?: number;
}

/**
 * Each token to its most probable expert, weighed by that probability, so that the router learns from the task. In training
 * the router's input is jittered, which needs `key`.
 *
 * Source: Fedus et al. 2021, "Switch Transformers", equations 1 to 3; the jitter is theirs too.
 *
 * @throws {ConfigError} on a bad option; from `route`, if jitter is to be drawn without `key`.
 */
export function switchTop1(options: SwitchTop1Options = {}): Router<GateParams, LogitRouting> {
  checkOptions("switchTop1", options, { jitter: fraction });
  const { jitter = 1e-2 } = options;
  return softmaxTopK({ k: 1, renormalize: false, jitter });
}
