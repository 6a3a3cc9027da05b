import { init, mark, tensor, term, type Tensor } from "@switchyard/tensor";
import { ledger } from "@switchyard/autograd";
import { explainRouter } from "@switchyard/moe";
import { expect, test } from "vitest";
import { bars, cancellations, stepTable } from "../../../src/cli/explain/blocks.ts";
import { pageDot } from "../../../src/cli/explain/dot.ts";
import { heatmap } from "../../../src/cli/explain/heatmap.ts";

await init("cpu");

const terms = ["", "small", "large", "nan", "infinite"];
const astray = (p: { w: Tensor; v: Tensor; u: Tensor }): Tensor => {
  const logits = mark("logits", p.w, { role: "router logits" });
  return term("small", logits.sum())
    .add(term("large", logits.sum().mul(10)))
    .add(term("nan", logits.mul(NaN).sum()))
    .add(term("infinite", p.u.mul(Infinity).sum()))
    .add(term("large", p.v.sum().mul(10)))
    .sub(term("small", p.v.sum()));
};
const book = await ledger(astray)({ w: tensor([[1, 2]]), v: tensor([1, 2]), u: tensor([1]) });

/** What a page cannot draw. */
const undrawable = /(width|opacity|height|penwidth|x|y)[:=]"?-?(NaN|Infinity)/;
const widths = (html: string): string[] =>
  [...html.matchAll(/class="(term\d)" style="width:([^%]*)%/g)].map((m) => `${m[1]} ${m[2]}`);

test("a bar of what is not finite is as long as can be, and the others keep their proportion", () => {
  const { html } = bars(book.of("w"), terms);
  expect(widths(html).toSorted()).toEqual(["term1 10.0", "term2 100.0", "term3 100.0"]);
  expect(html).toContain("<td>NaN</td>");
  expect(html).not.toMatch(undrawable);
});

test("of parameters that are not finite, nothing is said of cancellation", () => {
  const { html } = cancellations(
    book.parameters.map((path) => book.of(path)),
    terms,
  );
  expect(html).not.toMatch(/<code>[wu]<\/code>/);
  expect(widths(html).toSorted()).toEqual(["term1 9.1", "term2 90.9"]);
  expect(html).not.toMatch(undrawable);
});

test("steps, edges and tokens that are not finite are drawn as large as can be", () => {
  expect(stepTable(book.of("w")).html).toMatch(/width:100\.0%.*\s*<td>(NaN|Infinity)/);
  expect(stepTable(book.of("w")).html).not.toMatch(undrawable);
  const dot = pageDot(book.graph, terms);
  expect(dot).not.toMatch(undrawable);
  expect(dot).toMatch(/class="edge term3", penwidth=7\.00/);
  const [router] = explainRouter(book);
  const { html } = heatmap(router, ["a"]);
  expect(html).toMatch(/opacity="1.00"><title>expert 0: NaN/);
  expect(html).toMatch(/nan by any/);
  expect(html).not.toMatch(undrawable);
});
