import { opName, topologicalOrder, type AnyNode } from "./node.ts";
import { tensorsIn } from "./realizeTree.ts";
import { describe } from "./shape.ts";

/** The graph behind tensors, as it was written. */
export interface Graph {
  /** How many operations it has, leaves included. */
  readonly size: number;
  /** A line for each operation, inputs first: `%2 = mul %0 %1 f32[2]  // layer, model.ts:41`. */
  toString(): string;
  /** The graph in the language of Graphviz: what a gradient rule wrote is dashed. */
  toDot(): string;
}

/**
 * The graph that tensors stand for: all that is needed to compute them, and what was only said about it (terms, marks, rules).
 *
 * @param tree one tensor, or any tree of them.
 */
export function graphOf(tree: unknown): Graph {
  const order = topologicalOrder([...tensorsIn(tree)].map((t) => t.node));
  const numbers = new Map(order.map((node, i) => [node, i]));
  const byId = new Map(order.map((node, i) => [node.id, i]));
  return {
    size: order.length,
    toString: () => order.map((node, i) => `%${i} = ${line(node, numbers, byId)}`).join("\n"),
    toDot: () => dot(order, numbers, byId),
  };
}

/** Attributes that the name or the shape says already, or that are no plain data. */
const untold = new Set([
  "op",
  "fn",
  "dtype",
  "shape",
  "value",
  "kind",
  "name",
  "storage",
  "backward",
  "arrived",
  "options",
]);

/** What an operation is, without its inputs: `sum axes=[0]`, `term balance`. */
function title(node: AnyNode): string {
  if (node.op === "tag") return `${node.attrs.kind} ${node.attrs.name}`;
  if (node.op === "call") return `call ${node.attrs.name}`;
  if (node.op === "full") return `full ${node.attrs.value}`;
  const told = Object.entries(node.attrs).filter(([name]) => !untold.has(name));
  return [opName(node), ...told.map(([name, value]) => `${name}=${JSON.stringify(value)}`)].join(" ");
}

/** Where an operation was written, and which gradient rule wrote it. */
function origin({ provenance: { scope, line: at, rule } }: AnyNode, byId: ReadonlyMap<number, number>): string {
  const forward = rule && byId.get(rule.id);
  return [
    ...(rule ? [`gradient of ${rule.op}${forward === undefined ? "" : ` %${forward}`}`] : []),
    ...(scope === "" ? [] : [scope]),
    ...((rule?.line ?? at) === undefined ? [] : [rule?.line ?? at]),
  ].join(", ");
}

function line(node: AnyNode, numbers: ReadonlyMap<AnyNode, number>, byId: ReadonlyMap<number, number>): string {
  const inputs = node.inputs.map((x) => ` %${numbers.get(x)}`).join("");
  const from = origin(node, byId);
  return `${title(node)}${inputs} ${describe(node)}${from === "" ? "" : `  // ${from}`}`;
}

function dot(
  order: readonly AnyNode[],
  numbers: ReadonlyMap<AnyNode, number>,
  byId: ReadonlyMap<number, number>,
): string {
  const quoted = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const lines = order.flatMap((node, i) => {
    const style = node.provenance.rule ? ", style=dashed" : "";
    const label = `${quoted(`${title(node)} ${describe(node)}`)}, tooltip=${quoted(origin(node, byId))}`;
    return [`${i} [label=${label}${style}];`, ...node.inputs.map((x) => `${numbers.get(x)} -> ${i};`)];
  });
  return `digraph tensors {\n  node [shape=box];\n${lines.map((text) => `  ${text}\n`).join("")}}\n`;
}
