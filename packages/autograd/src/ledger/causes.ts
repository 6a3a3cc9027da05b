import { onesLike, realize, type Tensor } from "@switchyard/tensor";
import { fromNode, opName, repeating, type AnyNode } from "@switchyard/tensor/graph";
import { backward, type ByClass, type Classes } from "../backward.ts";
import { placeOf, type Flow } from "./flow.ts";
import { killsOf, mayKill, phantomAt, type Kill } from "./kills.ts";
import { keyOf, pathClasses, untagged, type PathClass } from "./pathClass.ts";
import type { Cause, NoPath } from "./zero.ts";

/** Why and where: one object for all that is not told apart. */
interface Site extends NoPath {
  readonly secondary: boolean;
}

/** What flows in this sweep: a true cotangent, or the phantom of one that was killed at a site. */
interface Carried {
  readonly path: PathClass;
  readonly site?: Site;
}

export interface CausesRequest {
  readonly lossNode: AnyNode;
  readonly variables: readonly AnyNode[];
  readonly marks: readonly string[];
  readonly flow: Flow;
  /** The parameters to sweep back to. */
  readonly targets: readonly AnyNode[];
  /** The parameters and marks with exact zeros. */
  readonly watched: ReadonlySet<AnyNode>;
}

/** Causes by the key of the class of path. */
export type CausesByClass = ReadonlyMap<string, readonly Cause[]>;

/**
 * Why elements are exactly zero. Where a rule gives nothing for something, a phantom starts at what would have got it and flows on
 * through the same rules, under a class of its own: it arrives at the elements that would have a gradient but for this one kill.
 */
export async function causesOfZeros(request: CausesRequest): Promise<ReadonlyMap<AnyNode, CausesByClass>> {
  const { lossNode, variables, marks, flow, targets, watched } = request;
  const intern = internCarried();
  const paths = pathClasses("ledger", new Set(variables), new Set(marks));
  const classes: Classes<Carried> = {
    beyond: (node, { path, site }) => intern(paths.beyond(node, path), site),
    arriving: (x, consumer, { path, site }) => intern(paths.arriving(x, consumer, path), site),
  };
  const siteOf = internSites(hasFewSites(flow));
  const arrivals = new Map<AnyNode, ByClass<Carried>>();
  const pieces = new Map<AnyNode, Piece[]>();
  const seed = { node: lossNode, ct: onesLike(fromNode(lossNode)), class: intern(untagged, undefined) };
  backward([seed], targets, classes, {
    arrived(node, arrived) {
      const given = pieces.get(node) ?? [];
      pieces.delete(node);
      for (const [{ path, site }, phantom] of cancelled(node, arrived, given)) {
        const cls = intern(path, siteOf(cancellation(node, given), node, site !== undefined));
        arrived.set(cls, arrived.get(cls)?.add(phantom) ?? phantom);
      }
      if (watched.has(node)) arrivals.set(node, arrived);
    },
    gave(x, consumer, _left, given, ct) {
      const known = pieces.get(x) ?? [];
      pieces.set(x, known);
      known.push({ consumer, cls: given, ct });
    },
    passed(step, give) {
      const { node, cts, wanted } = step;
      const real = [...cts].filter(([{ site }]) => !site);
      if (real.length === 0) return;
      for (const i of wanted.filter((input) => mayKill(node, input))) {
        const x = node.inputs[i];
        for (const kill of killsOf(step, i))
          for (const [cls, ct] of real)
            for (const { phantom, secondary } of phantomsOf(kill, ct, step.inputs[i]))
              give(x, classes.arriving(x, node, intern(cls.path, siteOf(kill, node, secondary))), phantom);
      }
    },
  });
  return readCauses(arrivals);
}

/** What one consumer gave. */
interface Piece {
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
function cancelled(node: AnyNode, arrived: ByClass<Carried>, pieces: readonly Piece[]): [Carried, Tensor][] {
  return [...arrived].flatMap(([cls, total]): [Carried, Tensor][] => {
    const given = pieces.filter((piece) => piece.cls === cls);
    if (given.length < 2) return [];
    const some = given.map(({ ct }) => ct.ne(0)).reduce((a, b) => a.or(b));
    return [[cls, phantomAt(total.eq(0).and(some), fromNode(node))]];
  });
}

/** A sum of one element, by which the same element is divided, is the mark of a weight renormalised alone. */
function cancellation(node: AnyNode, pieces: readonly Piece[]): NoPath {
  const alone = ({ consumer }: Piece): boolean =>
    consumer.op === "reduce" &&
    consumer.attrs.op === "sum" &&
    consumer.attrs.axes.every((axis) => node.shape[axis] === 1);
  return pieces.some(alone)
    ? { reason: "renormalised top-1", detail: "one weight divided by itself is 1 whatever it was: its derivative is 0" }
    : { reason: "cancelled", detail: "what its uses give adds up to exactly 0" };
}

/** At most so many classes are carried, phantoms included. */
const mostCarried = 64;

/** Whether each kill can have a class of its own. */
function hasFewSites({ arrivals }: Flow): boolean {
  const sites = new Set<string>();
  let classes = 0;
  for (const [node, byClass] of arrivals) {
    classes = Math.max(classes, byClass.size);
    if (node.inputs.some((_, i) => mayKill(node, i))) sites.add(`${opName(node)} ${placeOf(node.provenance)}`);
  }
  return sites.size * classes <= mostCarried;
}

/** One site for each reason and, if there are few, place. */
function internSites(apart: boolean) {
  const known = new Map<string, Site>();
  return ({ reason, detail }: NoPath, node: AnyNode, secondary = false): Site => {
    const at = apart && !secondary ? placeOf(node.provenance) : undefined;
    const key = JSON.stringify([reason, detail, at, secondary]);
    const site = known.get(key) ?? { reason, detail, ...(at !== undefined && { at }), secondary };
    known.set(key, site);
    return site;
  };
}

function internCarried() {
  const known = new Map<PathClass, Map<Site | undefined, Carried>>();
  return (path: PathClass, site: Site | undefined): Carried => {
    const bySite = known.get(path) ?? new Map<Site | undefined, Carried>();
    known.set(path, bySite);
    const carried = bySite.get(site) ?? { path, ...(site && { site }) };
    bySite.set(site, carried);
    return carried;
  };
}

/** Reads the phantoms that arrived, all in one plan. */
async function readCauses(
  arrivals: ReadonlyMap<AnyNode, ByClass<Carried>>,
): Promise<ReadonlyMap<AnyNode, CausesByClass>> {
  const phantoms = [...arrivals].map(([node, byClass]) => [node, [...byClass].filter(([{ site }]) => site)] as const);
  const tensors = phantoms.flatMap(([, held]) => held.map(([, phantom]) => phantom));
  await repeating(() => realize(tensors));
  const causes = await Promise.all(
    phantoms.map(async ([node, held]) => {
      const byClass = new Map<string, Cause[]>();
      for (const [{ path, site }, phantom] of held) {
        const cause = { ...site!, holds: await phantom.data() };
        byClass.set(keyOf(path), [...(byClass.get(keyOf(path)) ?? []), cause]);
      }
      return [node, byClass] as const;
    }),
  );
  for (const phantom of tensors) phantom.dispose();
  return new Map(causes);
}
