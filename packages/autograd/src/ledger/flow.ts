import { onesLike, type Tensor } from "@switchyard/tensor";
import { fromNode, opName, type AnyNode, type Provenance } from "@switchyard/tensor/graph";
import { largerFirst } from "./account.ts";
import { backward, type ByClass, type Classes } from "../backward.ts";
import { pathClasses, untagged, type PathClass } from "./pathClass.ts";
import type { Measure, Measures } from "./measure.ts";

/** What a rule gave to one input of its node. */
export interface Edge {
  readonly consumer: AnyNode;
  /** The class beyond the consumer, before its rule. */
  readonly left: PathClass;
  /** The class at the input. */
  readonly given: PathClass;
  readonly ct: Tensor;
}

/** How cotangents went from the loss to the targets, and what arrived. Holds the graph, and of the device only its leaves. */
export interface Flow {
  readonly arrivals: ReadonlyMap<AnyNode, ByClass<PathClass>>;
  /** By the node that was given to. */
  readonly edges: ReadonlyMap<AnyNode, readonly Edge[]>;
  readonly classes: Classes<PathClass>;
}

/** Runs the sweep and keeps what it saw. */
export function traceFlow(
  loss: AnyNode,
  variables: readonly AnyNode[],
  targets: readonly AnyNode[],
  marks: readonly string[],
): Flow {
  const arrivals = new Map<AnyNode, ByClass<PathClass>>();
  const edges = new Map<AnyNode, Edge[]>();
  const classes = pathClasses("ledger", new Set(variables), new Set(marks));
  const seed = { node: loss, ct: onesLike(fromNode(loss)), class: untagged };
  backward([seed], targets, classes, {
    arrived: (node, arrived) => void arrivals.set(node, arrived),
    gave(x, consumer, left, given, ct) {
      const known = edges.get(x) ?? [];
      edges.set(x, known);
      // A consumer that reads x twice gives once, the sum. What it gives comes in one go, so it is among the last.
      let at = known.length - 1;
      while (at >= 0 && known[at].consumer === consumer && !(known[at].left === left && known[at].given === given))
        at--;
      if (at >= 0 && known[at].consumer === consumer) known[at] = { ...known[at], ct: known[at].ct.add(ct) };
      else known.push({ consumer, left, given, ct });
    },
  });
  return { arrivals, edges, classes };
}

/** One application of a gradient rule on a path from the loss to a parameter. */
export interface Step extends Partial<Measure> {
  /** The forward operation, as the user knows it, such as `matmul`, `relu` or `mark hidden`. */
  readonly op: string;
  /** The gradient rule that was applied: the name of the primitive. */
  readonly rule: string;
  /** The scope that the forward operation was written in; "" outside all. */
  readonly scope: string;
  /** In debug, the line that it was written on. */
  readonly line?: string;
  /** The class of the cotangent that arrived at the operation. */
  readonly class: PathClass;
}

/** Where a node was written, in words: its line if that is known, else its scope. */
export const placeOf = ({ line, scope }: Provenance): string | undefined => line ?? (scope === "" ? undefined : scope);

/**
 * The steps of the strongest path by which a class arrives at a node, the loss first: at each node the way back that gave the most,
 * or, where nothing was measured, the first that gave.
 */
export function strongestPath(flow: Flow, target: AnyNode, cls: PathClass, measures: Measures | undefined): Step[] {
  const normOf = (ct: Tensor): number => measures?.normOf(ct) ?? 0;
  const steps: Step[] = [];
  let [node, current] = [target, cls];
  for (;;) {
    const given = flow.edges.get(node)?.filter((edge) => edge.given === current) ?? [];
    if (given.length === 0) return steps.reverse();
    const edge = largest(given, ({ ct }) => normOf(ct));
    node = edge.consumer;
    const arrived = [...flow.arrivals.get(node)!].filter(([c]) => flow.classes.beyond(node, c) === edge.left);
    const [before, ct] = largest(arrived, ([, x]) => normOf(x));
    const { scope, line } = node.provenance;
    const where = { op: describeOp(node), rule: node.op, scope, ...(line !== undefined && { line }) };
    steps.push({ ...where, class: before, ...measures?.at(node, ct) });
    current = before;
  }
}

/** What a node is to the user: a tag by what it names. */
const describeOp = (node: AnyNode): string =>
  node.op === "tag" ? `${node.attrs.kind} ${node.attrs.name}` : opName(node);

/** The first of the largest. */
function largest<T>(items: readonly T[], sizeOf: (item: T) => number): T {
  let best = items[0];
  for (const item of items) if (largerFirst(sizeOf(item), sizeOf(best)) < 0) best = item;
  return best;
}
