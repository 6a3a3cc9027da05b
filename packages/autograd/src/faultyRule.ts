import { realize, type Tensor } from "@switchyard/tensor";
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
  const values = new Map(order.flatMap(operandsOf).map((x) => [x, fromNode(x)]));
  await realize([...values.values()]); // each once, not again for every operation after it
  const [stops, others] = [order.filter(stopsGradients), order.filter((node) => !stopsGradients(node))];
  for (const node of [...others.reverse(), ...stops.reverse()]) if (await isFaulty(node, values, checking)) return node;
  return undefined;
}

const stopsGradients = (node: AnyNode): boolean => node.op === "detach";

async function isFaulty(node: AnyNode, values: ReadonlyMap<AnyNode, Tensor>, checking: Checking): Promise<boolean> {
  const operands = new Map(operandsOf(node).map((x) => [x, values.get(x)!]));
  const floats = [...operands.keys()].filter((x) => isFloat(x.dtype));
  if (floats.length === 0) return false;
  const alone: Floats = (xs) => {
    const each = [...operands].map(([x, value]) => [x, (xs[floats.indexOf(x)] ?? value).node] as const);
    return [fromNode(again(node, new Map(each)))];
  };
  const paths = floats.map((_, i) => `${i}`);
  const at = floats.map((x) => operands.get(x)!);
  return (await derivativeFault(alone, at, { ...checking, paths, onKink: () => {} }, 1)) !== undefined;
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
