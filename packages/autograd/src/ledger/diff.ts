import { FormatError } from "@switchyard/tensor";
import { largerFirst } from "./account.ts";
import type { LedgerEntry } from "./entry.ts";
import type { EntryJson, LedgerJson } from "./json.ts";
import { keyOf, type PathClass } from "./pathClass.ts";
import { classLabel, number, table } from "./text.ts";

/** What became of one class of one place; norms are 0 where the class is not there. */
export interface LedgerChange {
  readonly where: string;
  readonly class: PathClass;
  readonly norms: readonly [before: number, after: number];
  readonly shares: readonly [before: number, after: number];
  /** `|after - before|` of the norms over the larger: 0 where it is as large as it was, 1 for a class that came or went. */
  readonly change: number;
  /** `‖after - before‖` over the larger norm, element by element; absent where one of the two is data that was saved. */
  readonly distance?: number;
}

/** Two ledgers beside each other. */
export interface LedgerDiff {
  readonly losses: readonly [before: number, after: number];
  /** Those farthest apart first, else the largest change; before all what is not finite. */
  readonly changes: readonly LedgerChange[];
  /** Places that only one of the two has. */
  readonly missing: { readonly before: readonly string[]; readonly after: readonly string[] };
  toString(): string;
}

/** The relative distance of a class's contributions to one place in two ledgers. */
type Distance = (cls: PathClass) => number | undefined;

/** That of two entries with their elements at hand: undefined where they have different sizes. */
export const distanceBetween =
  (before: LedgerEntry, after: LedgerEntry): Distance =>
  (cls) => {
    const [a, b] = [before, after].map(({ parts }) => parts.find((part) => keyOf(part.class) === keyOf(cls)));
    if (!a || !b) return (a ?? b)?.norm === 0 ? 0 : 1;
    if (a.elements.length !== b.elements.length) return undefined;
    const largest = Math.max(a.norm, b.norm);
    let squares = 0;
    for (let i = 0; i < a.elements.length; i++) squares += (b.elements[i] - a.elements[i]) ** 2;
    return largest === 0 ? 0 : Math.sqrt(squares) / largest;
  };

/**
 * @param distances where elements are at hand: by place.
 * @throws {FormatError} if either is not what a ledger writes.
 */
export function ledgerDiff(
  before: LedgerJson,
  after: LedgerJson,
  distances: (where: string) => Distance = () => () => undefined,
): LedgerDiff {
  for (const { format, version } of [before, after])
    if (format !== "switchyard ledger" || version !== 1)
      throw new FormatError("ledger: diff takes a ledger, or what its toJSON gave, of this version");
  const [left, right] = [before, after].map(({ entries }) => new Map(entries.map((entry) => [entry.where, entry])));
  const shared = before.entries.filter(({ where }) => right.has(where));
  const changes = shared
    .flatMap((entry) => changesOf(entry, right.get(entry.where)!, distances(entry.where)))
    .toSorted((a, b) => largerFirst(a.distance ?? a.change, b.distance ?? b.change));
  const losses = [Number(before.loss), Number(after.loss)] as const;
  const only = (some: LedgerJson, others: ReadonlyMap<string, EntryJson>): string[] =>
    some.entries.map(({ where }) => where).filter((where) => !others.has(where));
  return {
    losses,
    changes,
    missing: { before: only(after, left), after: only(before, right) },
    toString: () => diffText(losses, changes),
  };
}

function changesOf(before: EntryJson, after: EntryJson, distance: Distance): LedgerChange[] {
  const classes = new Map([...before.parts, ...after.parts].map((part) => [keyOf(part.class), part.class]));
  const none = { norm: 0, share: 0 };
  return [...classes].map(([key, cls]) => {
    const [a, b] = [before, after].map(({ parts }) => {
      const { norm, share } = parts.find((part) => keyOf(part.class) === key) ?? none;
      return { norm: Number(norm), share: Number(share) };
    });
    const largest = Math.max(a.norm, b.norm);
    const apart = distance(cls);
    return {
      where: before.where,
      class: cls,
      norms: [a.norm, b.norm],
      shares: [a.share, b.share],
      change: largest === 0 ? 0 : Math.abs(b.norm - a.norm) / largest,
      ...(apart !== undefined && { distance: apart }),
    };
  });
}

function diffText([before, after]: LedgerDiff["losses"], changes: readonly LedgerChange[]): string {
  const rows = changes.map(({ where, class: cls, norms, change, distance }) => [
    where,
    classLabel(cls),
    ...norms.map(number),
    `${(100 * change).toFixed(1)}%`,
    distance === undefined ? "" : `${(100 * distance).toFixed(1)}%`,
  ]);
  return `loss ${number(before)} -> ${number(after)}\n${table(["", "class", "before", "after", "change", "distance"], rows)}`;
}
