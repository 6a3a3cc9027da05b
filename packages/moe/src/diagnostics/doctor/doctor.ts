import { ConfigError } from "@switchyard/tensor";
import type { Routing } from "../../routing/routing.ts";
import { check, type Finding } from "./checks.ts";
import { observe } from "./observe.ts";

/** What comes with a loss: the routing of a layer, or those of several. */
type Aux = { readonly routings: readonly Routing[] } | { readonly routing: Routing };

/**
 * What a doctor can be shown: a routing; what a layer or a model returned, with its `routing` or `routings`; a report of `train`, whose
 * `aux` has them; or the run itself, which is then finished and its last step looked at.
 */
export type Patient = Routing | Aux | { readonly aux: Aux } | { finish(): Promise<{ readonly aux: Aux }> };

/**
 * Looks at the routings of a batch and names what is wrong with them, and what to do: experts that are dead, a collapse, imbalance beyond
 * chance, a top-1 weight that teaches nothing, a softmax taken twice, layers whose imbalances cancel, ties, saturation, dropped
 * tokens, values that are not finite. Padding counts for nothing. All is read in one go. Show it a batch as large as fits: of a small
 * one chance decides.
 *
 * @returns findings by layer; none if all is well.
 * @throws {ConfigError} if there is no routing to look at.
 */
export async function doctor(patient: Patient): Promise<Finding[]> {
  const isObject = typeof patient === "object" && patient !== null;
  const routings = isObject && routingsOf("finish" in patient ? await patient.finish() : patient);
  if (!Array.isArray(routings) || routings.length === 0)
    throw new ConfigError(
      "doctor: needs a routing to look at; pass one, or what has it: what a layer, a model's loss or train returns",
    );
  return check(await observe(routings));
}

function routingsOf(patient: Exclude<Patient, { finish: unknown }>): readonly Routing[] | undefined {
  if ("aux" in patient) return routingsOf(patient.aux);
  if ("routings" in patient) return patient.routings;
  if ("routing" in patient) return [patient.routing];
  return "gates" in patient ? [patient] : undefined;
}
