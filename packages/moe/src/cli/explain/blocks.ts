import type { LedgerEntry, LedgerPart, PathClass } from "@switchyard/autograd";
import { markup, type Html } from "../../report/markup.ts";
import { largestOf, proportion } from "./proportion.ts";
import { number, percent, termName } from "./words.ts";

const className = ({ term, marks, nonlinear }: PathClass): string =>
  [
    nonlinear ? "nonlinear" : termName(term),
    ...(marks?.includes("combine")
      ? [term ? "of later layers, by the combine weights" : "by the combine weights"]
      : []),
  ].join(" ");

const width = (part: number): string => `width:${(100 * part).toFixed(1)}%`;

/** One bar for each part of a gradient: how long its norm is, and what share of the total it makes. */
export function bars({ parts }: LedgerEntry, terms: readonly string[]): Html {
  const largest = largestOf(parts.map(({ norm }) => norm));
  const rows = parts.map(
    (part) => markup`<tr>
      <th>${className(part.class)}</th>
      <td class="bar"><i class="term${terms.indexOf(part.class.term ?? "")}" style="${width(proportion(part.norm, largest))}"></i></td>
      <td>${number(part.norm)}</td><td>${percent(part.share)}</td><td>${part.cosine.toFixed(2)}</td>
    </tr>`,
  );
  return markup`<table class="bars"><thead><tr><th></th><th></th><td>norm</td><td>share</td><td>cosine</td></tr></thead>${rows}</table>`;
}

/** Parameters by how little is left of their parts, least first; of what is not finite, nothing can be told. */
export function cancellations(entries: readonly LedgerEntry[], terms: readonly string[]): Html {
  const worst = entries.filter(({ norm }) => norm > 0 && Number.isFinite(norm)).toSorted((a, b) => a.left - b.left);
  const rows = worst.slice(0, 8).map(
    ({ where, left, parts, norm }) => markup`<tr>
      <th><code>${where}</code></th>
      <td class="stack">${stack(parts, terms)}</td>
      <td>${number(norm)}</td><td>${percent(left)}</td>
    </tr>`,
  );
  return markup`<table class="bars"><thead><tr><th></th><th></th><td>norm</td><td>left</td></tr></thead>${rows}</table>
  <p class="note">Left is the norm of the whole over the sum of the norms of its parts: 100% where all pull one way, little where they pull against each other.</p>`;
}

function stack(parts: readonly LedgerPart[], terms: readonly string[]): Html[] {
  const whole = parts.reduce((sum, { norm }) => sum + norm, 0);
  return parts.map(({ norm, class: cls }) => {
    const title = `${className(cls)}: ${number(norm)}`;
    return markup`<i class="term${terms.indexOf(cls.term ?? "")}" style="${width(proportion(norm, whole))}" title="${title}"></i>`;
  });
}

/** The steps of the strongest path, the loss first. */
export function stepTable({ steps }: LedgerEntry): Html {
  const largest = largestOf(steps.map(({ norm = 0 }) => norm));
  const rows = steps.map(
    ({ op, scope, norm = 0, min = 0, max = 0, cosine = 0 }) => markup`<tr>
      <th>${op}</th><td class="scope">${scope}</td>
      <td class="bar"><i style="${width(Math.sqrt(proportion(norm, largest)))}"></i></td>
      <td>${number(norm)}</td><td>${number(min)}</td><td>${number(max)}</td><td>${cosine.toFixed(2)}</td>
    </tr>`,
  );
  return markup`<details><summary>${steps.length} steps from the loss to the parameter</summary><table class="bars steps">
    <thead><tr><th></th><td class="scope">scope</td><th></th><td>norm</td><td>min</td><td>max</td><td>cosine</td></tr></thead>${rows}</table></details>`;
}

/** Why elements are exactly zero. */
export const zeroList = ({ why = [] }: LedgerEntry): Html =>
  markup`<ul>${why.map(({ reason, detail, at, elements, class: cls }) => {
    const whose = cls ? ` of ${className(cls)}` : "";
    return markup`<li><b>${reason}</b>${whose}: ${elements} elements. ${detail}${at ? `, ${at}` : ""}.</li>`;
  })}</ul>`;
