import { treeLeaves } from "@switchyard/autograd";

/** Ends the tensors of a tree, those that have not ended yet. */
export const disposeTree = (tree: unknown): void => treeLeaves(tree).forEach((t) => t.dispose());
