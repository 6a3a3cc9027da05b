import type { AnyNode } from "@switchyard/tensor/graph";
import type { Flow } from "./flow.ts";
import type { Measures } from "./measure.ts";
import { number } from "./text.ts";

/** How gradients flow between the parts of a model: from the loss through terms and scopes to parameters. */
export interface GradientGraph {
  readonly nodes: readonly GradientNode[];
  readonly edges: readonly GradientEdge[];
}

export interface GradientNode {
  readonly id: string;
  /** The operations outside all scopes are the `loss`. */
  readonly kind: "loss" | "term" | "scope" | "parameter";
  readonly label: string;
}

export interface GradientEdge {
  readonly from: string;
  readonly to: string;
  /** Of all cotangents that flow along it; absent if they were not measured. */
  readonly norm?: number;
  /** The same for each term; "" for untagged loss. */
  readonly byTerm: { readonly [term: string]: number };
}

/** Draws a flow together by scope. */
export function gradientGraph(
  { edges }: Flow,
  parameters: ReadonlyMap<AnyNode, string>,
  measures: Measures | undefined,
): GradientGraph {
  const groups = new Map<string, GradientNode>();
  const groupOf = (node: AnyNode): string => {
    const group = groupNode(node, parameters);
    groups.set(group.id, group);
    return group.id;
  };
  const squares = new Map<string, { from: string; to: string; byTerm: Map<string, number> }>();
  for (const [x, given] of edges)
    for (const { consumer, given: cls, ct } of given) {
      const [from, to] = [groupOf(consumer), groupOf(x)];
      if (from === to) continue;
      const key = `${from}\n${to}`;
      const edge = squares.get(key) ?? { from, to, byTerm: new Map<string, number>() };
      squares.set(key, edge);
      const term = cls.term ?? "";
      edge.byTerm.set(term, (edge.byTerm.get(term) ?? 0) + (measures?.normOf(ct) ?? 0) ** 2);
    }
  const edgeOf = ({ from, to, byTerm }: { from: string; to: string; byTerm: Map<string, number> }): GradientEdge => ({
    from,
    to,
    ...(measures && { norm: Math.sqrt([...byTerm.values()].reduce((sum, square) => sum + square, 0)) }),
    byTerm: Object.fromEntries([...byTerm].map(([term, square]) => [term, Math.sqrt(square)])),
  });
  return { nodes: [...groups.values()], edges: [...squares.values()].map(edgeOf) };
}

function groupNode(node: AnyNode, parameters: ReadonlyMap<AnyNode, string>): GradientNode {
  const path = parameters.get(node);
  if (path !== undefined) return { id: `parameter ${path}`, kind: "parameter", label: path || "the parameter" };
  const { scope } = node.provenance;
  if (node.op === "tag" && node.attrs.kind === "term") {
    const { name } = node.attrs;
    // A loss that a layer gives in a scope of its own name, as mixtures do, is not named twice.
    const label = scope === "" || scope === name || scope.endsWith(`/${name}`) ? scope || name : `${scope}/${name}`;
    return { id: `term ${label}`, kind: "term", label };
  }
  return scope === ""
    ? { id: "loss", kind: "loss", label: "loss" }
    : { id: `scope ${scope}`, kind: "scope", label: scope };
}

const shapes = { loss: "doublecircle", term: "hexagon", scope: "box", parameter: "ellipse" } as const;

/** The graph in the language of Graphviz. The width of an edge is the logarithm of what flows along it, over four decades. */
export function dotOfGraph({ nodes, edges }: GradientGraph): string {
  const largest = Math.max(...edges.map(({ norm = 0 }) => norm).filter(Number.isFinite), Number.MIN_VALUE);
  const lines = [
    ...nodes.map(({ id, kind, label }) => `${quoted(id)} [label=${quoted(label)}, shape=${shapes[kind]}]`),
    ...edges.map(({ from, to, norm }) => {
      const style = norm === undefined ? "" : ` [label="${number(norm)}", penwidth=${widthOf(norm / largest)}]`;
      return `${quoted(from)} -> ${quoted(to)}${style}`;
    }),
  ];
  return `digraph gradient {\n${lines.map((line) => `  ${line};\n`).join("")}}\n`;
}

/** What is not finite is drawn as the largest. */
const widthOf = (relative: number): string =>
  (Number.isFinite(relative) ? Math.max(0.5, 8 * (1 + Math.log10(relative) / 4)) : 8).toFixed(2);

const quoted = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
