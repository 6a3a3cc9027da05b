import type { Ledger, LedgerEntry, LedgerPart } from "@switchyard/autograd";
import { GradientError } from "@switchyard/tensor";

/**
 * How a term of the loss reaches a router.
 *
 * - `combine weights`: by what the layer adds up; the way of the task.
 * - `routing`: by the record itself, as losses of balance take it.
 * - `later layers`: by what the layer adds up, to a term (a balance loss, say) of a layer above.
 * - `any`: not told apart; make the ledger with `{ marks: ["combine"] }`.
 */
export type RouterPath = "combine weights" | "routing" | "later layers" | "any";

/** What one term does to a router by one path. */
export interface RouterMover {
  /** The term's name; `task` for untagged loss. */
  readonly term: string;
  readonly path: RouterPath;
  readonly norm: number;
  /** `⟨part, total⟩ / ‖total‖²`: shares add up to 1, and may be negative. */
  readonly share: number;
  /** With the total. */
  readonly cosine: number;
}

/** The same, at the logits, where experts and tokens can be told apart. */
export interface LogitMover extends RouterMover {
  /** The share by expert; adds up to `share`. */
  readonly byExpert: readonly number[];
  /** The share by token; adds up to `share`. */
  readonly byToken: readonly number[];
  /** `[T, E]`, row-major: the gradient by the logits. */
  readonly gradient: ArrayLike<number>;
}

/** What moves one router. */
export interface RouterExplanation {
  /** The router's scope, such as `layers.1/moe/router`. */
  readonly router: string;
  /** Rows of the logits: tokens, or in the groups of a hierarchy the slots of its first level. */
  readonly tokens: number;
  readonly experts: number;
  /** The gradient by the logits, by term and path, expert and token: largest first. */
  readonly logits: readonly LogitMover[];
  /** The gradient of the gate, by term and path; absent if no parameter is at the scope's path, `layers.1.moe.router.gate`. */
  readonly gate?: readonly RouterMover[];
  toString(): string;
}

/**
 * What moves the routers of a model: term × path × expert × token, in shares that add up. It reads what arrives at the marks with the
 * role `router logits`, which every router of this library sets. In a router of your own: `mark("logits", x, { role: "router logits" })`.
 *
 * @param ledger with `{ marks: ["combine"] }`, paths are told apart.
 * @throws {GradientError} if no gradient arrives at the logits of any router.
 */
export function explainRouter(ledger: Ledger): RouterExplanation[] {
  const marks = ledger.marks.filter((mark) => ledger.of(mark).role === "router logits");
  if (marks.length === 0)
    throw new GradientError(
      'explainRouter: no gradient arrives at the logits of a router; take the ledger by the routers\' parameters, and mark the logits of a router of your own with { role: "router logits" }',
    );
  const paths = ledger.marks.some((mark) => /(^|\/)combine(#\d+)?$/.test(mark)) && isSplit(ledger);
  return marks.map((mark) => explain(ledger, mark, paths));
}

/** Whether some class crosses the mark that paths are told apart by. */
const isSplit = (ledger: Ledger): boolean =>
  [...ledger.marks, ...ledger.parameters].some((where) =>
    ledger.of(where).parts.some((part) => part.class.marks?.includes("combine")),
  );

function explain(ledger: Ledger, mark: string, split: boolean): RouterExplanation {
  const entry = ledger.of(mark);
  const [tokens, experts] = entry.total.shape;
  const router = mark.replace(/(^|\/)[^/]*?(#\d+)?$/, "$2");
  const scopes = router.replace(/#\d+$/, "");
  const path = scopes === "" ? "gate" : `${scopes.replaceAll("/", ".")}.gate`;
  const gate = ledger.parameters.includes(path) ? ledger.of(path) : undefined;
  const total = sumOfParts(entry);
  const logits = entry.parts.map((part) => logitMover(part, total, { norm: entry.norm, experts, split }));
  const explanation = { router, tokens, experts, logits, ...(gate && { gate: gateMovers(gate, split) }) };
  return { ...explanation, toString: () => explanationText(explanation) };
}

function moverOf({ class: cls, norm, share, cosine }: LedgerPart, split: boolean): RouterMover {
  const crossed = cls.marks?.includes("combine");
  const path = !split ? "any" : !crossed ? "routing" : cls.term === undefined ? "combine weights" : "later layers";
  return { term: cls.term ?? "task", path, norm, share, cosine };
}

function sumOfParts({ parts }: LedgerEntry): Float64Array {
  const sum = new Float64Array(parts[0].elements.length);
  for (const { elements } of parts) for (let i = 0; i < sum.length; i++) sum[i] += elements[i];
  return sum;
}

/** @param total `[T, E]`: the sum of all parts, of this norm. */
function logitMover(
  part: LedgerPart,
  total: Float64Array,
  { norm, experts, split }: { norm: number; experts: number; split: boolean },
): LogitMover {
  const gradient = part.elements;
  const byExpert = new Array<number>(experts).fill(0);
  const byToken = new Array<number>(gradient.length / experts).fill(0);
  for (let i = 0; i < gradient.length; i++) {
    const share = norm === 0 ? 0 : (gradient[i] * total[i]) / norm ** 2;
    byExpert[i % experts] += share;
    byToken[Math.floor(i / experts)] += share;
  }
  return { ...moverOf(part, split), byExpert, byToken, gradient };
}

/** The gate's gradient by term and path: its parts by scope, which is the router's in all of them, fall together. */
const gateMovers = (gate: LedgerEntry, split: boolean): RouterMover[] => gate.parts.map((part) => moverOf(part, split));

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

function explanationText({ router, tokens, experts, logits, gate }: Omit<RouterExplanation, "toString">): string {
  const blocks = Array.from({ length: Math.ceil(experts / abreast) }, (_, i) => i * abreast);
  return [
    `${router || "router"}: what moves its logits, by ${tokens} tokens`,
    moverTable(logits),
    "these shares by expert, in percent",
    ...blocks.map((first) => expertTable(logits, first, Math.min(first + abreast, experts))),
    ...(gate ? ["and its gate", moverTable(gate)] : []),
  ].join("\n");
}

/** Experts side by side in a table, which then fits a terminal of 80 columns. */
const abreast = 8;

const moverTable = (movers: readonly RouterMover[]): string =>
  columns([
    ["", "path", "norm", "share"],
    ...movers.map(({ term, path, norm, share }) => [term, path, norm.toExponential(2), percent(share)]),
  ]);

const expertTable = (logits: readonly LogitMover[], first: number, end: number): string =>
  columns([
    ["", "", ...Array.from({ length: end - first }, (_, i) => `${first + i}`)],
    ...logits.map(({ term, path, byExpert }) => [
      term,
      path,
      ...byExpert.slice(first, end).map((share) => (100 * share).toFixed(1)),
    ]),
  ]);

/** Two columns of words, then numbers. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows
    .map((row) => `  ${row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ")}`)
    .join("\n");
}
