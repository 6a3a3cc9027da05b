/// <reference lib="esnext.disposable" preserve="true" />
import { GradientError, Tensor } from "@switchyard/tensor";
import type { AnyNode } from "@switchyard/tensor/graph";
import { merged, once, type Account, type Property } from "./account.ts";
import { entryOf, type LedgerEntry } from "./entry.ts";
import { distanceBetween, ledgerDiff, type LedgerDiff } from "./diff.ts";
import { dotOfGraph, type GradientGraph } from "./graph.ts";
import { ledgerJson, type LedgerJson } from "./json.ts";
import { firstNonFinite, type NonFinite } from "./nonFinite.ts";
import { unknownPath } from "./paths.ts";
import { ledgerText } from "./text.ts";

/** A gradient taken apart. */
export interface Ledger<O = unknown> {
  /** What the function returned. Its loss has been computed. */
  readonly value: O;
  /** The loss. */
  readonly loss: number;
  /** The paths of the parameters. */
  readonly parameters: readonly string[];
  /** The marks that gradients arrive at: each by its scope and name, `layers.1/moe/router/logits`. */
  readonly marks: readonly string[];
  /**
   * The gradient of a parameter, or what arrives at a mark.
   *
   * @param where a path, the parameter itself, or a mark: its name where that is enough, else with its scope.
   * @param index one element.
   * @throws {GradientError} if nothing is there, naming the closest path; for a tensor at two paths.
   * @throws {ShapeError} for an index that is not of the shape.
   */
  of(where: string | Tensor, index?: readonly number[]): LedgerEntry;
  /** The same ledger with classes told apart by one property alone. */
  by(property: Property): Ledger<O>;
  /**
   * Where NaN or infinity was born: runs the graph again with a flag for each operation. The parameters and inputs must still be alive.
   *
   * @returns the first operation whose result is not finite though its inputs are; null if there is none.
   */
  firstNonFinite(): Promise<NonFinite | null>;
  /** What changed from this ledger to another, of another step, seed or device: place by place, class by class. */
  diff(other: Ledger | LedgerJson): LedgerDiff;
  /** Plain data: norms, shares, cosines, and why what is zero is zero. The elements themselves are not in it. What is not finite is told by its name, `"NaN"`. */
  toJSON(): LedgerJson;
  /** How gradients flow between scopes, terms and parameters; computed when it is first asked for. */
  readonly graph: GradientGraph;
  /** That graph in the language of Graphviz: edges are as wide as what flows along them is large. */
  toDot(): string;
  toString(): string;
  /** Ends the contributions, which a device holds. The numbers stay. */
  dispose(): void;
  [Symbol.dispose](): void;
}

export interface Book<O> {
  readonly value: O;
  readonly loss: number;
  readonly accounts: readonly Account[];
  /** The parameters as they were given, by path. */
  readonly handles: ReadonlyMap<string, Tensor>;
  /** All that was computed, as graphs. */
  readonly roots: readonly AnyNode[];
  readonly graph: () => GradientGraph;
  /** What the device holds for the ledger. */
  readonly contributions: readonly Tensor[];
}

/** The ledger of what is known. */
export function bookOf<O>(book: Book<O>): Ledger<O> {
  const { value, loss, accounts, roots } = book;
  const namesOf = (kind: Account["kind"]): string[] => accounts.filter((a) => a.kind === kind).map((a) => a.where);
  const entries = once(() => accounts.map((account) => entryOf(account)));
  const json = once(() => ledgerJson(loss, accounts, entries()));
  const dispose = (): void => book.contributions.forEach((contribution) => contribution.dispose());
  return {
    value,
    loss,
    parameters: namesOf("parameter"),
    marks: namesOf("mark"),
    of: (where, index) => entryOf(accountAt(book, where), index),
    by: (property) => bookOf({ ...book, accounts: accounts.map((account) => merged(account, property)) }),
    firstNonFinite: () => firstNonFinite(roots),
    diff: (other) =>
      "of" in other
        ? ledgerDiff(json(), other.toJSON(), (where) =>
            distanceBetween(entryOf(accountAt(book, where)), other.of(where)),
          )
        : ledgerDiff(json(), other),
    toJSON: json,
    get graph() {
      return book.graph();
    },
    toDot: () => dotOfGraph(book.graph()),
    toString: () => ledgerText(loss, entries()),
    dispose,
    [Symbol.dispose]: dispose,
  };
}

function accountAt<O>({ accounts, handles }: Book<O>, where: string | Tensor): Account {
  if (where instanceof Tensor) return accountOfTensor(accounts, handles, where);
  const found = accounts.find((account) => account.where === where);
  if (found) return found;
  const named = accounts.filter(({ kind, where: address }) => kind === "mark" && address.endsWith(`/${where}`));
  if (named.length === 1) return named[0];
  if (named.length > 1)
    throw new GradientError(
      `ledger: there are ${named.length} marks "${where}"; name one with its scope: ${named.map((m) => m.where).join(", ")}`,
    );
  throw unknownPath(
    where,
    accounts.map((account) => account.where),
  );
}

function accountOfTensor(accounts: readonly Account[], handles: ReadonlyMap<string, Tensor>, x: Tensor): Account {
  const paths = [...handles].filter(([, handle]) => handle === x).map(([path]) => path);
  if (paths.length === 1) return accounts.find(({ where }) => where === paths[0])!;
  if (paths.length > 1)
    throw new GradientError(
      `ledger: the tensor is at ${paths.length} paths, each with a gradient of its own; ask for ${paths.join(" or ")}`,
    );
  throw new GradientError(`ledger: the tensor ${x} is not one of the parameters; ask by path`);
}
