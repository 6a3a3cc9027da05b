import { treeLeaves, treePaths } from "@switchyard/autograd";
import { isFloat } from "@switchyard/tensor/graph";

/** The scalars of a tree, read. */
export async function scalarsOf(tree: unknown): Promise<{ [path: string]: number }> {
  const paths = treePaths(tree);
  const scalars = treeLeaves(tree).flatMap((t, i) =>
    t.ndim === 0 && isFloat(t.dtype) ? [[paths[i], t] as const] : [],
  );
  return Object.fromEntries(await Promise.all(scalars.map(async ([path, t]) => [path, await t.item()] as const)));
}
