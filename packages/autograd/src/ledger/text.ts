import { sizeOf } from "@switchyard/tensor/graph";
import type { Account } from "./account.ts";
import type { LedgerEntry } from "./entry.ts";
import type { PathClass } from "./pathClass.ts";
import type { Zero } from "./zero.ts";

/** A class in words: `importance, in layers.1/moe/router, by combine`. */
export function classLabel({ term, scope, marks, nonlinear }: PathClass): string {
  const parts = [nonlinear ? "nonlinear" : (term ?? "untagged loss")];
  if (scope !== undefined) parts.push(`in ${scope}`);
  if (marks) parts.push(`by ${marks.join(" and ")}`);
  return parts.join(", ");
}

/** Four digits. */
export const number = (x: number): string =>
  x === 0 || !Number.isFinite(x) || (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5)
    ? `${Number(x.toPrecision(4))}`
    : x.toExponential(2);

/** Columns, the first flush left and numbers flush right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const isText = head.map((_, column) => rows.some((row) => !/^-?(\d|NaN|Infinity)/.test(row[column])));
  return all
    .map((row) =>
      row
        .map((cell, column) => (isText[column] ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** The ledger as a listing. */
export const ledgerText = (loss: number, entries: readonly LedgerEntry[]): string =>
  [`loss ${number(loss)}`, ...entries.map(String)].join("\n\n");

/** A table of the parts of an entry, and what is remarkable below it. */
export function entryText(
  { where, index, norm, parts, left, why }: LedgerEntry,
  { kind, dtype, shape }: Account,
): string {
  const place = `${where || "the parameter"}${index ? `[${index}]` : ""}`;
  const title = `${place} ${dtype}[${index ? "" : shape}]${kind === "mark" ? " (mark)" : ""}: norm ${number(norm)}`;
  const size = index ? 1 : sizeOf(shape);
  const rows = parts.map((part) => [
    `  ${classLabel(part.class)}`,
    number(part.norm),
    percent(part.share),
    part.cosine.toFixed(2),
  ]);
  return [
    title,
    ...(rows.length > 0 ? [table(["  class", "norm", "share", "cosine"], rows)] : []),
    ...(left < 0.1 ? [`  parts cancel: ${percent(left)} of their norms is left`] : []),
    ...(why ?? []).map((zero) => `  ${zeroText(zero, size)}`),
  ].join("\n");
}

function zeroText({ reason, detail, at, class: cls, elements }: Zero, size: number): string {
  const which = elements === size ? "all" : `${elements} of ${size}`;
  const whose = cls ? ` of ${classLabel(cls)}` : "";
  return `${which} zero${whose}: ${reason} (${detail}${at === undefined ? "" : `; ${at}`})`;
}
