import { ConfigError } from "@switchyard/tensor";
import type { Routing } from "../../routing/routing.ts";
import { check, type Finding } from "./checks.ts";
import { observe } from "./observe.ts";

/** What a doctor is shown: the routings of a step, as `transformer` and `lstmMoe` return them. */
export interface Patient {
  /** One record for each layer with a mixture. */
  readonly routings: readonly Routing[];
}

/**
 * Looks at the routings of a batch and names what is wrong with them, and what to do: experts that are dead, a collapse, imbalance beyond
 * chance, a top-1 weight that teaches nothing, a softmax taken twice, layers whose imbalances cancel, ties, saturation, dropped
 * tokens, values that are not finite. Padding counts for nothing. All is read in one go. Show it a batch as large as fits: of a small
 * one chance decides.
 *
 * @returns findings by layer; none if all is well.
 * @throws {ConfigError} if there is no routing to look at.
 */
export async function doctor({ routings }: Patient): Promise<Finding[]> {
  if (!Array.isArray(routings) || routings.length === 0)
    throw new ConfigError(
      "doctor: needs routings to look at; pass what a model's apply or loss returns, or { routings: [routing] }",
    );
  return check(await observe(routings));
}
