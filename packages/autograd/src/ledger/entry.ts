import { ShapeError, type Tensor } from "@switchyard/tensor";
import { describe, sizeOf } from "@switchyard/tensor/graph";
import { dotOf, largerFirst, normOf, once, sumOf, type Account, type AccountPart } from "./account.ts";
import type { Step } from "./flow.ts";
import type { PathClass } from "./pathClass.ts";
import { entryText } from "./text.ts";
import { zerosOf, type Zero } from "./zero.ts";

/** One class's part of a gradient. */
export interface LedgerPart {
  readonly class: PathClass;
  /** Like the parameter, or a scalar where one element was asked for. */
  readonly contribution: Tensor;
  /** Its elements on the host, row-major. */
  readonly elements: ArrayLike<number>;
  readonly norm: number;
  /** `⟨part, total⟩ / ‖total‖²`: shares add up to 1 and may be negative; 0 where the total is 0. */
  readonly share: number;
  /** With the total; 0 if either is 0. */
  readonly cosine: number;
  /** The strongest path of this class, the loss first. */
  readonly steps: readonly Step[];
  /** Why elements of this part are exactly zero; absent if none is. */
  readonly why?: readonly Zero[];
}

/** The gradient of one parameter, or of one of its elements, or what arrives at a mark; and what it is made of. */
export interface LedgerEntry {
  readonly where: string;
  /** That of a mark that was given one. */
  readonly role?: string;
  /** The element asked for. */
  readonly index?: readonly number[];
  /** The sum of the parts. */
  readonly total: Tensor;
  readonly norm: number;
  /** Largest first, and before all what is not finite. */
  readonly parts: readonly LedgerPart[];
  /** `‖total‖ / Σ ‖part‖`: 1 where parts do not work against each other, near 0 where they cancel; 1 where all are 0. */
  readonly left: number;
  /** The strongest path of the largest part. */
  readonly steps: readonly Step[];
  /** Why elements of the total are exactly zero; absent if none is. */
  readonly why?: readonly Zero[];
  /** A table of the parts, and what is remarkable below it. */
  toString(): string;
}

/** What is looked at: all elements, or one. */
interface View {
  /** The one element's position, row-major. */
  readonly at?: number;
  readonly pick: (data: ArrayLike<number>) => ArrayLike<number>;
  readonly take: (x: Tensor) => Tensor;
}

const everything: View = { pick: (data) => data, take: (x) => x };

function elementAt(account: Account, index: readonly number[]): View {
  const at = flatIndex(account, index);
  return { at, pick: (data) => [data[at]], take: (x) => (index.length > 0 ? x.slice(...index) : x) };
}

/**
 * An account seen whole, or at one element.
 *
 * @throws {ShapeError} for an index that is not of the shape.
 */
export function entryOf(account: Account, index?: readonly number[]): LedgerEntry {
  const view = index ? elementAt(account, index) : everything;
  const elements = sumOf(
    account.parts.map(({ data }) => data),
    sizeOf(account.shape),
  );
  const total = view.pick(elements);
  const norm = normOf(total);
  const parts = account.parts
    .map((part) => partOf(part, view, total, norm))
    .toSorted((a, b) => largerFirst(a.norm, b.norm));
  const norms = parts.reduce((sum, part) => sum + part.norm, 0);
  const why = once(() => zerosOf(account.parts, elements, view.at, account.noPath));
  const sum = once(() => parts.map((part) => part.contribution).reduce((a, b) => a.add(b)));
  return {
    where: account.where,
    ...(account.role !== undefined && { role: account.role }),
    ...(index && { index }),
    get total() {
      return parts.length === 0 ? view.take(account.zeros()) : sum();
    },
    norm,
    parts,
    left: norms === 0 ? 1 : norm / norms,
    get steps() {
      return parts[0]?.steps ?? [];
    },
    get why() {
      return why();
    },
    toString() {
      return entryText(this, account);
    },
  };
}

function partOf(part: AccountPart, view: View, total: ArrayLike<number>, totalNorm: number): LedgerPart {
  const elements = view.pick(part.data);
  const norm = normOf(elements);
  const dot = dotOf(elements, total);
  const contribution = once(() => view.take(part.contribution()));
  const why = once(() => zerosOf([part], part.data, view.at));
  return {
    class: part.class,
    get contribution() {
      return contribution();
    },
    elements,
    norm,
    share: totalNorm === 0 ? 0 : dot / totalNorm ** 2,
    cosine: totalNorm === 0 || norm === 0 ? 0 : dot / (norm * totalNorm),
    get steps() {
      return part.steps();
    },
    get why() {
      return why();
    },
  };
}

function flatIndex({ where, shape, dtype }: Account, index: readonly number[]): number {
  const fits =
    index.length === shape.length && index.every((i, axis) => Number.isInteger(i) && i >= 0 && i < shape[axis]);
  if (!fits) throw new ShapeError(`ledger: [${index}] is no element of ${where} (${describe({ shape, dtype })})`);
  return index.reduce((flat, i, axis) => flat * shape[axis] + i, 0);
}
