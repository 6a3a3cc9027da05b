import { onesLike, realize } from "@switchyard/tensor";
import { fromNode, opName, repeating, type AnyNode } from "@switchyard/tensor/graph";
import { backward, type ByClass, type Classes } from "../backward.ts";
import { placeOf, type Flow } from "./flow.ts";
import { mayKill } from "./kills.ts";
import { cancellation, cancelled, killed, lostWithin, type Carried, type Piece, type Site } from "./phantoms.ts";
import { keyOf, pathClasses, untagged, type PathClass } from "./pathClass.ts";
import type { Cause, NoPath } from "./zero.ts";

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
      const { node, wanted } = step;
      for (const i of wanted)
        for (const { path, phantom, begins } of [...killed(step, i), ...lostWithin(step, i)]) {
          const site =
            "why" in begins ? siteOf(begins.why, begins.placeless ? undefined : node, begins.secondary) : begins;
          give(node.inputs[i], classes.arriving(node.inputs[i], node, intern(path, site)), phantom);
        }
    },
  });
  return readCauses(arrivals);
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
  return ({ reason, detail }: NoPath, node: AnyNode | undefined, secondary = false): Site => {
    const at = apart && node && !secondary ? placeOf(node.provenance) : undefined;
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
