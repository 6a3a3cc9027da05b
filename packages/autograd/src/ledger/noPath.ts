import { isFloat, opName, topologicalOrder, type AnyNode, type ScalarOp } from "@switchyard/tensor/graph";
import { dependents } from "../backward.ts";
import { placeOf } from "./flow.ts";
import type { NoPath } from "./zero.ts";

/** Scalar ops that are flat wherever they have a derivative. */
const steps: ReadonlySet<string> = new Set<ScalarOp>(["sign", "floor", "ceil", "round"]);

/** Whether an operation passes gradients to some input, going by what it is. */
const passes = (node: AnyNode): boolean => isFloat(node.dtype) && node.op !== "detach" && !steps.has(opName(node));

/** Why no gradient arrives at a parameter: the cut nearest to the loss on the ways that its values take. */
export function noPathTo(parameter: AnyNode, loss: AnyNode): NoPath {
  const reached = dependents([loss], new Set([parameter]));
  if (reached.length === 0) return { reason: "no path", detail: "the loss does not use it" };
  const live = new Set<AnyNode>([parameter]);
  for (const node of topologicalOrder(reached)) {
    if (node.op !== "custom" && passes(node) && node.inputs.some((x) => live.has(x))) live.add(node);
    if (node.op === "custom" && node.inputs.slice(1).some((x) => live.has(x))) live.add(node);
  }
  // Newest first: the first cut is the nearest to the loss.
  const cut = reached.find((node) => !live.has(node) && node.inputs.some((x) => live.has(x)));
  const at = cut && placeOf(cut.provenance);
  const where = { ...(at !== undefined && { at }) };
  if (!cut) return { reason: "stopped", detail: "a custom rule gives it no cotangent", ...where };
  if (cut.op === "detach")
    return { reason: "stopped", detail: "stopGradient is on the only ways to the loss", ...where };
  const what = opName(cut);
  return {
    reason: "no path",
    detail: `the loss depends on it through ${what} alone, which passes no gradient`,
    ...where,
  };
}
