import { type AnyNode, topologicalOrder } from "../node.ts";
import { primitives } from "../primitives/index.ts";
import type { Primitive } from "../primitives/primitive.ts";
import { leafStorage, nodeInputs } from "../runtime/leaves.ts";
import type { Storage } from "../runtime/storage.ts";
import type { DType } from "../types.ts";
import { roles } from "./roles.ts";

/** One operation after common subexpressions are merged and identities are gone. */
export interface Op {
  readonly index: number;
  readonly node: AnyNode;
  readonly inputs: readonly Op[];
  readonly users: Op[];
  /** A leaf's position among the distinct storages. */
  readonly leaf?: number;
  /** A `full` node's position among the numbers. */
  readonly slot?: number;
}

/** A request in the form that a plan depends on. */
export interface Request {
  /** Nodes in topological order, identities included. */
  readonly order: readonly AnyNode[];
  readonly roots: readonly AnyNode[];
  /** Distinct storages in order of first use. */
  readonly leaves: readonly Storage[];
  readonly numbers: readonly number[];
  /** Equal keys mean equal plans: the graph without scopes, marks, terms, closures and numbers. */
  readonly key: string;
}

const keyOf = (node: AnyNode): string => (primitives[node.op] as Primitive<never>).key(node.attrs as never);

/** An identity that adds nothing to the value. `after` does: it orders. */
const isTransparent = ({ op }: AnyNode): boolean => roles[op] === "transparent";

/** Reads a request off its graph: one pass, every run. */
export function readRequest(roots: readonly AnyNode[], donated: ReadonlySet<Storage>): Request {
  const order = topologicalOrder(roots, nodeInputs);
  const position = new Map<AnyNode, number>();
  const leaves = new Map<Storage, number>();
  const numbers: number[] = [];
  const parts: string[] = [];
  let count = 0;
  for (const node of order) {
    if (isTransparent(node)) {
      position.set(node, position.get(node.inputs[0])!);
      continue;
    }
    position.set(node, count++);
    const storage = leafStorage(node);
    if (storage) {
      let leaf = leaves.get(storage);
      if (leaf === undefined) leaves.set(storage, (leaf = leaves.size));
      parts.push(`=${leaf}${donated.has(storage) ? "!" : ""}${node.dtype}${node.shape}`);
      continue;
    }
    let part = node.op + keyOf(node);
    if (node.op === "full") {
      numbers.push(node.attrs.value);
      part += `${node.dtype}${node.shape}`;
    }
    for (const input of node.inputs) part += `,${position.get(input)!}`;
    parts.push(part);
  }
  parts.push(`>${roots.map((root) => position.get(root)!)}`);
  return { order, roots, leaves: [...leaves.keys()], numbers, key: parts.join("\n") };
}

/** Merges common subexpressions. Numbers never merge: equal today, they may differ in the next run of the same plan. */
export function canonicalize({ order, roots, leaves }: Request): { ops: Op[]; roots: Op[]; numbers: DType[] } {
  const leafIndex = new Map(leaves.map((storage, i) => [storage, i]));
  const ops: Op[] = [];
  const numbers: DType[] = [];
  const known = new Map<string, Op>();
  const opOf = new Map<AnyNode, Op>();
  for (const node of order) {
    if (isTransparent(node)) {
      opOf.set(node, opOf.get(node.inputs[0])!);
      continue;
    }
    const storage = leafStorage(node);
    const inputs = storage ? [] : node.inputs.map((input) => opOf.get(input)!);
    const slot = node.op === "full" ? numbers.push(node.dtype) - 1 : undefined;
    const leaf = storage && leafIndex.get(storage);
    const what = storage ? `leaf ${leaf}` : slot === undefined ? node.op + keyOf(node) : `number ${slot}`;
    const key = `${what} ${inputs.map((input) => input.index)} ${node.dtype}[${node.shape}]`;
    let op = known.get(key);
    if (!op) {
      op = { index: ops.length, node, inputs, users: [], leaf, slot };
      for (const input of inputs) input.users.push(op);
      ops.push(op);
      known.set(key, op);
    }
    opOf.set(node, op);
  }
  return { ops, roots: roots.map((root) => opOf.get(root)!), numbers };
}
