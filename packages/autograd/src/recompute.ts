import type { Tensor } from "@switchyard/tensor";
import { makeNode, topologicalOrder, type AnyNode, type Node } from "@switchyard/tensor/graph";

/** The `call` that marks a result of a checkpointed function: `[y, ...fresh inputs]`. */
export const checkpointName = "checkpoint";

export const isCheckpoint = (node: AnyNode): node is Node<"call"> & AnyNode =>
  node.op === "call" && node.attrs.name === checkpointName;

/**
 * What a checkpointed function's fresh input stands for, or the node itself. Cotangents add up there, in the order in which they would
 * without the checkpoint: adding up those of one checkpoint first would round differently.
 *
 * @param variables what the gradient is taken by, whose names are the user's.
 */
export function outsideCheckpoint(node: AnyNode, variables: ReadonlySet<AnyNode>): AnyNode {
  while (isInput(node) && !variables.has(node)) node = node.inputs[0];
  return node;
}

const isInput = (node: AnyNode): boolean =>
  node.op === "tag" && node.attrs.kind === "input" && node.attrs.name === checkpointName;

/** What a checkpointed function computed between its fresh inputs and its results. */
interface Region {
  readonly inputs: readonly AnyNode[];
  /** Cotangents of the results: recomputing waits for them. */
  readonly barriers: AnyNode[];
}

/**
 * Values for gradient rules: a node itself, or, inside a checkpointed function, its second computation, which starts from the
 * function's inputs only after the cotangents of its results are there.
 */
export function createRecomputation(): {
  enter(call: Node<"call">, cts: Iterable<Tensor>): void;
  valueOf(node: AnyNode): AnyNode;
} {
  const regionOf = new Map<AnyNode, Region>();
  const copies = new Map<AnyNode, AnyNode>();

  const copyOf = (node: AnyNode): AnyNode => copies.get(node) ?? node;
  const uncopied = (node: AnyNode): boolean => regionOf.has(node) && !copies.has(node);
  const copy = (node: AnyNode): AnyNode => {
    const { inputs, barriers } = regionOf.get(node)!;
    if (!inputs.includes(node)) return makeNode(node.op, node.inputs.map(copyOf), node.attrs, node.device);
    return barriers.reduce((value, ct) => makeNode("after", [value, ct], {}), copyOf(node.inputs[0]));
  };

  return {
    /** Called for each result of a checkpointed function, all before the rules of its body. An inner function is entered later and copied anew. */
    enter(call, cts) {
      const [result, ...inputs] = call.inputs;
      const known = regionOf.get(inputs[0]);
      const region = known?.inputs[0] === inputs[0] ? known : { inputs, barriers: [] };
      for (const ct of cts) region.barriers.push(ct.node);
      for (const node of bodyOf(result, inputs)) {
        regionOf.set(node, region);
        copies.delete(node);
      }
    },
    valueOf(node) {
      if (!regionOf.has(node)) return node;
      const missing = topologicalOrder([node], (n) => (uncopied(n) ? n.inputs : []));
      for (const n of missing) if (uncopied(n)) copies.set(n, copy(n));
      return copyOf(node);
    },
  };
}

/** The nodes that `result` needs and that depend on `inputs`, the inputs included. */
function bodyOf(result: AnyNode, inputs: readonly AnyNode[]): Set<AnyNode> {
  const body = new Set(inputs);
  for (const node of topologicalOrder([result], (n) => (body.has(n) ? [] : n.inputs)))
    if (node.inputs.some((x) => body.has(x))) body.add(node);
  return body;
}
