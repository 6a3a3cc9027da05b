import type { DType, Shape } from "@switchyard/tensor";
import type { Account } from "./account.ts";
import type { LedgerEntry } from "./entry.ts";
import type { PathClass } from "./pathClass.ts";
import type { Zero } from "./zero.ts";

/** A ledger as plain data. */
export interface LedgerJson {
  readonly format: "switchyard ledger";
  readonly version: 1;
  readonly loss: number;
  readonly entries: readonly EntryJson[];
}

export interface EntryJson {
  readonly where: string;
  readonly kind: Account["kind"];
  readonly shape: Shape;
  readonly dtype: DType;
  readonly norm: number;
  readonly left: number;
  readonly parts: readonly PartJson[];
  readonly why?: readonly Zero[];
}

export interface PartJson {
  readonly class: PathClass;
  readonly norm: number;
  readonly share: number;
  readonly cosine: number;
}

export const ledgerJson = (
  loss: number,
  accounts: readonly Account[],
  entries: readonly LedgerEntry[],
): LedgerJson => ({
  format: "switchyard ledger",
  version: 1,
  loss,
  entries: entries.map(({ where, norm, left, parts, why }, i) => ({
    where,
    kind: accounts[i].kind,
    shape: accounts[i].shape,
    dtype: accounts[i].dtype,
    norm,
    left,
    parts: parts.map((part) => ({ class: part.class, norm: part.norm, share: part.share, cosine: part.cosine })),
    ...(why && { why }),
  })),
});
