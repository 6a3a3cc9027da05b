import { GradientError } from "@switchyard/tensor";
import { describe, fromNode, isFloat, makeNode, type AnyNode } from "@switchyard/tensor/graph";
import { pathsOf, treeFlatten, treeUnflatten, type TreeStructure } from "./tree.ts";

/** A tree whose tensors are fresh variables: the nodes that a gradient is taken by. */
export interface Variables<T> {
  readonly tree: T;
  readonly nodes: readonly AnyNode[];
  readonly paths: readonly string[];
  readonly structure: TreeStructure;
}

/**
 * Fresh variables for the tensors of a tree. Each stands for its tensor under an identity of its own: a tensor reached in
 * another way is a constant, one at two paths is two variables, and an outer gradient passes through.
 *
 * @param op for the message.
 * @throws {GradientError} for an integer or bool tensor, naming its path.
 */
export function freshVariables<T>(op: string, tree: T): Variables<T> {
  const [leaves, structure] = treeFlatten(tree);
  const paths = pathsOf(tree);
  const nodes = leaves.map((leaf, i) => {
    if (!isFloat(leaf.dtype))
      throw new GradientError(
        `${op}: ${describe(leaf)} at ${paths[i] || "the root"} has no gradient; pass integers after the parameters, or close over them`,
      );
    return makeNode("tag", [leaf.node], { kind: "input", name: paths[i] });
  });
  return { tree: treeUnflatten(structure, nodes.map(fromNode)), nodes, paths, structure };
}
