import type { AccountPart } from "./account.ts";
import type { PathClass } from "./pathClass.ts";

/**
 * What makes a gradient exactly zero.
 *
 * - `unselected expert`: no token was sent to the expert, or it was not among a token's top k. `unselected`: a gather, slice or maximum
 *   did not take the element. `tie`: it was as large as what was taken, and lost by order.
 * - `dropped`: a token found no place at its expert. `masked`: a condition or a factor of 0 hides it.
 * - `stopped`: `stopGradient`, or a rule that gives nothing.
 * - `saturated`: the function is flat there, as relu is below 0.
 * - `renormalised top-1`: a single weight divided by itself is 1 whatever it was. `cancelled`: other ways add up to exactly 0.
 * - `underflow`: it is not zero, but too small for its dtype, or it is multiplied by what underflowed to 0.
 * - `zero weight`: a term of the loss is multiplied by 0. `zero input`: what the element is multiplied with is 0.
 * - `no path`: the loss does not depend on it, or through integers and comparisons alone.
 * - `unexplained`: it was not looked into; ask for `explain`.
 */
export type ZeroReason =
  | "unselected expert"
  | "unselected"
  | "tie"
  | "dropped"
  | "masked"
  | "stopped"
  | "saturated"
  | "renormalised top-1"
  | "cancelled"
  | "underflow"
  | "zero weight"
  | "zero input"
  | "no path"
  | "unexplained";

/** An explanation of exact zeros. */
export interface Zero {
  readonly reason: ZeroReason;
  /** What happened, in words. */
  readonly detail: string;
  /** The user's line in debug, else the scope, of the operation where it happened; absent outside all scopes. */
  readonly at?: string;
  /** The class whose contribution is zero for this reason; absent where no class arrives. */
  readonly class?: PathClass;
  /** How many of the elements asked about it explains. */
  readonly elements: number;
}

/** Why no path leads to a parameter. */
export type NoPath = Omit<Zero, "class" | "elements">;

/** One explanation, and where it holds. */
export interface Cause extends NoPath {
  /** Nonzero at the elements that would have a gradient but for it. */
  readonly holds: ArrayLike<number>;
  /** Whether other zeros, nearer to the loss, would have been there without it: told only where nothing else explains. */
  readonly secondary: boolean;
}

const unexplained: NoPath = {
  reason: "unexplained",
  detail: "nothing that was looked into holds here; ask for { explain: true } if that was not done",
};

/**
 * Why elements of a sum of parts are exactly zero.
 *
 * @param at the one element to explain; all by default.
 * @returns undefined if none is zero; else for each class what explains the most elements first.
 */
export function zerosOf(
  parts: readonly AccountPart[],
  total: ArrayLike<number>,
  at?: number,
  noPath?: NoPath,
): readonly Zero[] | undefined {
  const zero: number[] = [];
  for (let i = at ?? 0; i < (at === undefined ? total.length : at + 1); i++) if (total[i] === 0) zero.push(i);
  if (zero.length === 0) return undefined;
  if (parts.length === 0) return [{ ...(noPath ?? unexplained), elements: zero.length }];
  const found = parts.flatMap((part) =>
    zerosOfPart(
      part,
      zero.filter((i) => part.data[i] === 0),
    ),
  );
  const opposed = zero.filter((i) => parts.some((part) => part.data[i] !== 0)).length;
  const detail = "the classes add up to exactly 0";
  return opposed === 0 ? found : [{ reason: "cancelled", detail, elements: opposed }, ...found];
}

/**
 * Which reasons are told: those of the lowest rank. What was not taken in one use may be taken in another, so other reasons say
 * more than that; and what had nothing to make zero any more says less than what had.
 */
const rankOf = ({ reason, secondary }: Cause): number => Number(secondary) + (notTaken.has(reason) ? 2 : 0);
const notTaken: ReadonlySet<ZeroReason> = new Set(["unselected", "unselected expert", "tie"]);

function zerosOfPart({ class: cls, causes = [] }: AccountPart, zero: readonly number[]): Zero[] {
  const counts = new Map<NoPath, number>();
  for (const i of zero) {
    const holding = causes.filter(({ holds }) => holds[i] !== 0);
    const best = Math.min(...holding.map(rankOf));
    const told = holding.length > 0 ? holding.filter((cause) => rankOf(cause) === best) : [unexplained];
    for (const cause of told) counts.set(cause, (counts.get(cause) ?? 0) + 1);
  }
  const found = [...counts].map(([{ reason, detail, at }, elements]) => ({
    reason,
    detail,
    ...(at !== undefined && { at }),
    class: cls,
    elements,
  }));
  return found.toSorted((a, b) => b.elements - a.elements);
}
