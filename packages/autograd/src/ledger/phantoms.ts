import type { Tensor } from "@switchyard/tensor";
import { fromNode, opName, type AnyNode, type PrimitiveName } from "@switchyard/tensor/graph";
import type { ByClass, RuleStep } from "../backward.ts";
import { killsOf, mayKill, phantomAt, type Kill } from "./kills.ts";
import type { PathClass } from "./pathClass.ts";
import type { NoPath } from "./zero.ts";

/** Why and where: one object for all that is not told apart. */
export interface Site extends NoPath {
  readonly secondary: boolean;
}

/** What flows in this sweep: a true cotangent, or the phantom of one that was killed at a site. */
export interface Carried {
  readonly path: PathClass;
  readonly site?: Site;
}

/** A phantom that starts at an input of a node. */
export interface Start {
  readonly path: PathClass;
  readonly why: NoPath;
  readonly phantom: Tensor;
  readonly secondary: boolean;
}

/** Phantoms of what a rule kills, whatever arrives. */
export function killed(step: RuleStep<Carried>, i: number): Start[] {
  const real = [...step.cts].filter(([{ site }]) => !site);
  if (real.length === 0 || !mayKill(step.node, i)) return [];
  return killsOf(step, i).flatMap((why) =>
    real.flatMap(([{ path }, ct]) => phantomsOf(why, ct, step.inputs[i]).map((phantom) => ({ path, why, ...phantom }))),
  );
}

/** Rules that add up what arrives at several elements of the output. */
const adds: ReadonlySet<PrimitiveName> = new Set(["expand", "matmul", "groupedMatmul", "gather", "custom", "scan"]);

/** Phantoms where a rule adds up to exactly zero what is not. */
export function cancelledWithin({ node, cts, rule, output, inputs }: RuleStep<Carried>, i: number): Start[] {
  if (!adds.has(node.op)) return [];
  const why: NoPath = { reason: "cancelled", detail: `what arrives at ${opName(node)} adds up to exactly 0` };
  return [...cts].flatMap(([{ path, site }, ct]): Start[] => {
    const [given, some] = [ct, phantomAt(ct.ne(0), output)].map((arrived) => rule(arrived)[i]);
    if (!given || !some) return [];
    const phantom = phantomAt(given.eq(0).and(some.ne(0)), inputs[i]);
    return [{ path, why, phantom, secondary: site !== undefined }];
  });
}

/** What one consumer gave. */
export interface Piece {
  readonly consumer: AnyNode;
  readonly cls: Carried;
  readonly ct: Tensor;
}

/**
 * The phantoms of a kill: of what would have arrived (primary), and of what would not, since nothing came so far (secondary).
 * Where an operation works element by element, so does what arrived; else anything that arrived counts.
 */
function phantomsOf({ elements }: Kill, ct: Tensor, x: Tensor): { phantom: Tensor; secondary: boolean }[] {
  const arrived = ct.ne(0);
  const live = ct.shape.join() === x.shape.join() ? arrived : arrived.any().broadcastTo(x.shape);
  return [
    { phantom: phantomAt(elements.and(live), x), secondary: false },
    { phantom: phantomAt(elements.and(live.not()), x), secondary: true },
  ];
}

/** Phantoms where what several consumers gave, true or phantom, adds up to exactly zero. */
export function cancelled(node: AnyNode, arrived: ByClass<Carried>, pieces: readonly Piece[]): [Carried, Tensor][] {
  return [...arrived].flatMap(([cls, total]): [Carried, Tensor][] => {
    const given = pieces.filter((piece) => piece.cls === cls);
    if (given.length < 2) return [];
    const some = given.map(({ ct }) => ct.ne(0)).reduce((a, b) => a.or(b));
    return [[cls, phantomAt(total.eq(0).and(some), fromNode(node))]];
  });
}

/** A sum of one element, by which the same element is divided, is the mark of a weight renormalised alone. */
export function cancellation(node: AnyNode, pieces: readonly Piece[]): NoPath {
  const alone = ({ consumer }: Piece): boolean =>
    consumer.op === "reduce" &&
    consumer.attrs.op === "sum" &&
    consumer.attrs.axes.every((axis) => node.shape[axis] === 1);
  return pieces.some(alone)
    ? { reason: "renormalised top-1", detail: "one weight divided by itself is 1 whatever it was: its derivative is 0" }
    : { reason: "cancelled", detail: "what its uses give adds up to exactly 0" };
}
