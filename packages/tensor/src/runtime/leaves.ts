import type { AnyNode } from "../node.ts";
import type { Storage } from "./storage.ts";

const none: readonly AnyNode[] = [];

/** The storage behind a leaf: a buffer, or a transfer that has arrived. */
export function leafStorage(node: AnyNode): Storage | undefined {
  if (node.op === "buffer") return node.attrs.storage;
  if (node.op === "transfer" && node.attrs.arrived.leaf) return leafStorage(node.attrs.arrived.leaf);
  return undefined;
}

/**
 * The inputs a device must compute for a node. A transfer is a leaf on its own side; identities that only say something about
 * their first input need nothing else.
 */
export function nodeInputs(node: AnyNode): readonly AnyNode[] {
  if (node.op === "transfer") return none;
  return node.op === "custom" || node.op === "call" ? [node.inputs[0]] : node.inputs;
}

/** The node that holds the value, past identities that only say something about it. */
export function valueNode(node: AnyNode): AnyNode {
  while (
    node.op === "detach" ||
    node.op === "custom" ||
    node.op === "call" ||
    node.op === "tag" ||
    node.op === "after"
  ) {
    node = node.inputs[0];
  }
  return node;
}
