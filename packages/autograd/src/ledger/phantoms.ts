import type { FloatDType, Tensor } from "@switchyard/tensor";
import { fromNode, opName, type AnyNode, type PrimitiveName, type ScalarOp } from "@switchyard/tensor/graph";
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
  readonly phantom: Tensor;
  readonly begins: Beginning | Site;
}

/** A site that is found there. */
interface Beginning {
  readonly why: NoPath;
  readonly secondary: boolean;
  /** It may start nearly anywhere: the place is not told, so that others can have a class for each of theirs. */
  readonly placeless?: true;
}

/** Phantoms of what a rule kills, whatever arrives. */
export function killed(step: RuleStep<Carried>, i: number): Start[] {
  const real = [...step.cts].filter(([{ site }]) => !site);
  if (real.length === 0 || !mayKill(step.node, i)) return [];
  return killsOf(step, i).flatMap((why) =>
    real.flatMap(([{ path }, ct]) =>
      phantomsOf(why, ct, step.inputs[i]).map(({ phantom, secondary }) => ({
        path,
        phantom,
        begins: { why, secondary },
      })),
    ),
  );
}

/** Rules that add up what arrives at several elements of the output. */
const adds: ReadonlySet<PrimitiveName> = new Set(["expand", "matmul", "groupedMatmul", "gather", "custom", "scan"]);

/** Scalar ops whose gradient is what arrived, or nothing: no number becomes smaller there. */
const passesOn: ReadonlySet<ScalarOp> = new Set(["neg", "abs", "relu", "add", "sub", "where"]);

/** Whether a gradient may become too small there. */
const mayUnderflow = (node: AnyNode): boolean =>
  node.op === "map"
    ? !passesOn.has(node.attrs.fn)
    : (adds.has(node.op) && node.op !== "expand" && node.op !== "gather") ||
      (node.op === "reduce" && node.attrs.op === "prod");

/** Phantoms where a rule makes exactly zero of what is not: it adds up to that, or is too small for the dtype. */
export function lostWithin(step: RuleStep<Carried>, i: number): Start[] {
  const { node, cts, output, inputs } = step;
  if (!adds.has(node.op) && !mayUnderflow(node)) return [];
  return [...cts].flatMap(([{ path, site }, ct]): Start[] => {
    const [given, some] = [ct, phantomAt(ct.ne(0), output)].map((arrived) => step.rule(arrived)[i]);
    if (!given || !some) return [];
    const lost = given.eq(0).and(some.ne(0));
    const start = (elements: Tensor, begins: Start["begins"]): Start => ({
      path,
      phantom: phantomAt(elements, inputs[i]),
      begins,
    });
    const secondary = site !== undefined;
    const tooSmall = `a product of small numbers is too small for ${given.dtype}`;
    // A phantom has no size to lose: it goes on as it began.
    const underflow: Start["begins"] = site ?? {
      why: { reason: "underflow", detail: tooSmall },
      secondary,
      placeless: true,
    };
    if (!adds.has(node.op)) return [start(lost, underflow)];
    const detail = `what arrives at ${opName(node)} adds up to exactly 0`;
    const cancelled: Beginning = { why: { reason: "cancelled", detail }, secondary };
    if (!mayUnderflow(node)) return [start(lost, cancelled)];
    const tiny = lost.and(isNonzeroAtScale(step, i, ct));
    return [start(tiny, underflow), start(lost.and(tiny.not()), cancelled)];
  });
}

/** Powers of 2 that make numbers of a dtype much larger and seldom infinite. */
const scales = { f16: 2 ** 15, f32: 2 ** 100, f64: 2 ** 1000 } satisfies { [D in FloatDType]: number };

/** Where a rule gives something of a cotangent made larger. By a power of 2, so what adds up to exactly zero still does. */
function isNonzeroAtScale({ rule }: RuleStep<Carried>, i: number, ct: Tensor): Tensor {
  const larger = rule(ct.mul(scales[ct.dtype as FloatDType]))[i]!;
  return larger.ne(0).and(larger.isFinite());
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
