import { apply, fromNode, makeNode } from "@switchyard/tensor/graph";
import { checkpointName } from "./recompute.ts";
import { treeFlatten, treeUnflatten } from "./tree.ts";
import { rejectPromise } from "./vjp.ts";

/**
 * `f`, whose intermediate results are not kept for the gradient but computed again from its arguments, once the gradient of its
 * results is there. Time for memory: the same gradient, bit for bit.
 *
 * @param f synchronous, of trees, to any tree. What it computes from tensors it closes over alone is kept.
 */
export const checkpoint =
  <A extends readonly unknown[], O>(f: (...args: A) => O) =>
  (...args: A): O => {
    const [leaves, structure] = treeFlatten(args);
    if (leaves.length === 0) return f(...args);
    const inputs = leaves.map((x) => fromNode(makeNode("tag", [x.node], { kind: "input", name: checkpointName })));
    const out = rejectPromise("checkpoint", f(...treeUnflatten<A>(structure, inputs)));
    const [results, shape] = treeFlatten(out);
    const attrs = { name: checkpointName, options: {} };
    return treeUnflatten(
      shape,
      results.map((y) => apply("call", [y, ...inputs], attrs)),
    );
  };
