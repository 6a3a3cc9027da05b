import type { Tensor } from "@switchyard/tensor";
import { fromNode, isFloat, makeNode, topologicalOrder, type AnyNode } from "@switchyard/tensor/graph";
import { dependents } from "./backward.ts";
import { derivativeFault, type Checking, type Floats } from "./checkDerivative.ts";
import { operandsOf } from "./describeOrigin.ts";
import { freshVariables } from "./variables.ts";

/**
 * Finds the operation whose own gradient rule contradicts differences, one operation at a time from the inputs on. An operation that
 * stops gradients is blamed last: right functions have those too.
 *
 * @param f a function whose gradient was found wrong.
 * @returns undefined if each rule by itself is right.
 */
export async function faultyRule(f: Floats, xs: readonly Tensor[], checking: Checking): Promise<AnyNode | undefined> {
  const variables = freshVariables("checkGrads", xs);
  const roots = f(variables.tree).map((y) => y.node);
  const wanted = new Set(variables.nodes);
  const order = dependents(roots, wanted).filter((node) => !wanted.has(node) && isFloat(node.dtype));
  const [stops, others] = [order.filter(stopsGradients), order.filter((node) => !stopsGradients(node))];
  for (const node of [...others.reverse(), ...stops.reverse()]) if (await isFaulty(node, checking)) return node;
  return undefined;
}

const stopsGradients = (node: AnyNode): boolean => node.op === "detach";

async function isFaulty(node: AnyNode, checking: Checking): Promise<boolean> {
  const operands = [...new Set(operandsOf(node))].filter((x) => isFloat(x.dtype));
  if (operands.length === 0) return false;
  const values = operands.map((x) => fromNode(x));
  const alone: Floats = (xs) => [fromNode(again(node, new Map(operands.map((x, i) => [x, xs[i].node]))))];
  const paths = operands.map((_, i) => `${i}`);
  return (await derivativeFault(alone, values, { ...checking, paths, onKink: () => {} }, 1)) !== undefined;
}

/** An operation on other operands; a custom one's forward computation is done again from them. */
function again(node: AnyNode, operands: ReadonlyMap<AnyNode, AnyNode>): AnyNode {
  const copies = new Map(operands);
  for (const n of topologicalOrder([node], (m) => (operands.has(m) ? [] : m.inputs))) {
    if (operands.has(n)) continue;
    const inputs = n.inputs.map((x) => copies.get(x) ?? x);
    const moved = inputs.some((x, i) => x !== n.inputs[i]);
    copies.set(n, moved ? makeNode(n.op, inputs, n.attrs, n.device) : n);
  }
  return copies.get(node)!;
}
