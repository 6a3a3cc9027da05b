import { ShapeError, type Tensor } from "@switchyard/tensor";
import { describe } from "@switchyard/tensor/graph";
import { dotOf, normOf, once, sumOf, type Account, type AccountPart } from "./account.ts";
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
  /** The element asked for. */
  readonly index?: readonly number[];
  /** The sum of the parts. */
  readonly total: Tensor;
  readonly norm: number;
  /** Largest first. */
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

/**
 * An account seen whole, or at one element.
 *
 * @throws {ShapeError} for an index that is not of the shape.
 */
export function entryOf(account: Account, index?: readonly number[]): LedgerEntry {
  const at = index && flatIndex(account, index);
  const pick = (data: ArrayLike<number>): ArrayLike<number> => (at === undefined ? data : [data[at]]);
  const take = (x: Tensor): Tensor => (index && index.length > 0 ? x.slice(...index) : x);
  const length = account.shape.reduce((n, extent) => n * extent, 1);
  const total =
    account.parts.length === 0
      ? new Float64Array(length)
      : sumOf(
          account.parts.map((p) => p.data),
          length,
        );
  const whole = pick(total);
  const norm = normOf(whole);
  const parts = account.parts
    .map((part) => partOf(part, at, pick, take, whole, norm))
    .toSorted((a, b) => b.norm - a.norm);
  const largest = parts.reduce((sum, part) => sum + part.norm, 0);
  const why = once(() => zerosOf(account.parts, total, at, account.noPath));
  const sum = once(() => parts.map((part) => part.contribution).reduce((a, b) => a.add(b)));
  return {
    where: account.where,
    ...(index && { index }),
    get total() {
      return parts.length === 0 ? take(account.zeros()) : sum();
    },
    norm,
    parts,
    left: largest === 0 ? 1 : norm / largest,
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

function partOf(
  part: AccountPart,
  at: number | undefined,
  pick: (data: ArrayLike<number>) => ArrayLike<number>,
  take: (x: Tensor) => Tensor,
  total: ArrayLike<number>,
  totalNorm: number,
): LedgerPart {
  const data = pick(part.data);
  const norm = normOf(data);
  const dot = dotOf(data, total);
  const contribution = once(() => take(part.contribution()));
  const why = once(() => zerosOf([part], part.data, at));
  return {
    class: part.class,
    get contribution() {
      return contribution();
    },
    elements: data,
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
