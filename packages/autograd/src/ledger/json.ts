import type { DType, Shape } from "@switchyard/tensor";
import type { Account } from "./account.ts";
import type { LedgerEntry } from "./entry.ts";
import type { PathClass } from "./pathClass.ts";
import type { Zero } from "./zero.ts";

/** A ledger as plain data. */
export interface LedgerJson {
  readonly format: "switchyard ledger";
  readonly version: 1;
  readonly loss: NumberJson;
  readonly entries: readonly EntryJson[];
}

export interface EntryJson {
  readonly where: string;
  readonly kind: Account["kind"];
  readonly shape: Shape;
  readonly dtype: DType;
  readonly norm: NumberJson;
  readonly left: NumberJson;
  readonly parts: readonly PartJson[];
  readonly why?: readonly Zero[];
}

export interface PartJson {
  readonly class: PathClass;
  readonly norm: NumberJson;
  readonly share: NumberJson;
  readonly cosine: NumberJson;
}

/** A number, or its name: JSON has none that are not finite. `Number` reads both. */
export type NumberJson = number | "NaN" | "Infinity" | "-Infinity";

const numberJson = (x: number): NumberJson => (Number.isFinite(x) ? x : (`${x}` as NumberJson));

export const ledgerJson = (
  loss: number,
  accounts: readonly Account[],
  entries: readonly LedgerEntry[],
): LedgerJson => ({
  format: "switchyard ledger",
  version: 1,
  loss: numberJson(loss),
  entries: entries.map(({ where, norm, left, parts, why }, i) => ({
    where,
    kind: accounts[i].kind,
    shape: accounts[i].shape,
    dtype: accounts[i].dtype,
    norm: numberJson(norm),
    left: numberJson(left),
    parts: parts.map((part) => ({
      class: part.class,
      norm: numberJson(part.norm),
      share: numberJson(part.share),
      cosine: numberJson(part.cosine),
    })),
    ...(why && { why }),
  })),
});
