import type { GradientEdge, GradientGraph, GradientNode } from "@switchyard/autograd";
import { groupBy } from "../../report/groupBy.ts";
import { largestOf, proportion } from "./proportion.ts";

/** Ids that CSS and scripts can use, by those of the graph. */
export const elementIds = ({ nodes }: GradientGraph): ReadonlyMap<string, string> =>
  new Map(nodes.map(({ id }, i) => [id, `n${i}`]));

/** The term that gives the most along an edge, NaN more than all; "" for untagged loss. */
const mainTerm = ({ byTerm }: GradientEdge): string =>
  Object.entries(byTerm)
    .map(([term, size]) => ({ term, size: Number.isNaN(size) ? Infinity : size }))
    .reduce((best, next) => (next.size > best.size ? next : best), { term: "", size: -1 }).term;

/**
 * The graph for the page, in the language of Graphviz: a box around each layer, and colours left to the page's style.
 *
 * @param terms in the order of their colours.
 */
export function pageDot(graph: GradientGraph, terms: readonly string[]): string {
  const ids = elementIds(graph);
  const largest = largestOf(graph.edges.map(({ norm = 0 }) => norm));
  const clusters = groupBy(graph.nodes, clusterOf);
  const lines = [...clusters].map(([cluster, nodes], i) => {
    const inside = nodes.map((node) => nodeLine(node, cluster, ids)).join("\n");
    return cluster === ""
      ? inside
      : `subgraph cluster_${i} { label=${quoted(cluster)}; class="layer"; margin=14;\n${inside}\n}`;
  });
  const edges = graph.edges.map((edge, i) => {
    const width = Math.max(0.6, 7 * (1 + Math.log10(proportion(edge.norm ?? 0, largest)) / 4)).toFixed(2);
    const style = `id="e${i}", class="edge term${terms.indexOf(mainTerm(edge))}", penwidth=${width}, tooltip=${quoted(edgeTip(edge))}`;
    return `${ids.get(edge.from)} -> ${ids.get(edge.to)} [${style}, arrowsize=0.6];`;
  });
  return `digraph gradient {
    graph [rankdir=TB, bgcolor="transparent", fontname="sans-serif", fontsize=12, nodesep=0.25, ranksep=0.35];
    node [fontname="sans-serif", fontsize=12, height=0.35, margin="0.14,0.06", shape=box, style="rounded,filled"];
    ${lines.join("\n")}
    ${edges.join("\n")}
  }`;
}

/** The layer that a scope, term or parameter is in; "" for none. */
const clusterOf = ({ kind, label }: GradientNode): string =>
  kind === "loss" ? "" : (/^\w+\.\d+(?=[./]|$)/.exec(label)?.[0] ?? "");

const shapes = { loss: "box", scope: "box", term: "hexagon", parameter: "ellipse" } as const;

function nodeLine({ id, kind, label }: GradientNode, cluster: string, ids: ReadonlyMap<string, string>): string {
  const short = cluster === "" ? label : label === cluster ? "residual" : label.slice(cluster.length + 1);
  const name = ids.get(id);
  return `${name} [id="${name}", label=${quoted(short)}, class="${kind}", shape=${shapes[kind]}, tooltip=${quoted(`${kind} ${label}`)}];`;
}

const edgeTip = ({ from, to, norm = 0, byTerm }: GradientEdge): string =>
  `${from} → ${to}: norm ${norm.toPrecision(3)} (${Object.entries(byTerm)
    .map(([term, size]) => `${term || "task"} ${size.toPrecision(3)}`)
    .join(", ")})`;

const quoted = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
