import { describe, opName, type AnyNode } from "@switchyard/tensor/graph";

/** What an operation computes from: of a custom one all but its result, which is computed from the rest. */
export const operandsOf = (node: AnyNode): readonly AnyNode[] =>
  node.op === "custom" ? node.inputs.slice(1) : node.inputs;

/** What a node computes and who wrote it: `exp f32[3] of f32[3] in the gradient of tanh in scope head at model.ts:41:7`. */
export function describeOrigin(node: AnyNode): string {
  const { scope, rule, line } = node.provenance;
  const operands = operandsOf(node);
  return [
    `${opName(node)} ${describe(node)}`,
    operands.length > 0 && `of ${operands.map(describe).join(", ")}`,
    rule && `in the gradient of ${rule.op}`,
    scope && `in scope ${scope}`,
    line && `at ${line}`,
  ]
    .filter(Boolean)
    .join(" ");
}
