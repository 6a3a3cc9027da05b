import type { GradientGraph, LedgerEntry } from "@switchyard/autograd";
import type { RouterExplanation } from "../../diagnostics/explainRouter.ts";
import type { Explained } from "../explain.ts";
import { bars, cancellations, stepTable, zeroList } from "./blocks.ts";
import { elementIds, pageDot } from "./dot.ts";
import { heatmap } from "./heatmap.ts";
import { markup, raw } from "../../report/markup.ts";
import { number } from "./words.ts";
import { script } from "./script.ts";
import { style } from "./style.ts";

/** The terms of a ledger in the order of their colours: the task first. */
const termsOf = (entries: readonly LedgerEntry[], graph: GradientGraph): string[] => [
  ...new Set([
    "",
    ...graph.edges.flatMap(({ byTerm }) => Object.keys(byTerm)),
    ...entries.flatMap(({ parts }) => parts.map(({ class: cls }) => cls.term ?? "")),
  ]),
];

/** The explanation as one page of HTML that needs nothing else: no network, no library. */
export async function explanationPage(found: Explained): Promise<string> {
  const { ledger, param, run, device, routers, text } = found;
  const entry = ledger.of(param);
  const entries = ledger.parameters.map((path) => ledger.of(path));
  const terms = termsOf(entries, ledger.graph);
  const router = routerOf(param, routers);
  const tokens = text.reduce((sum, sequence) => sum + Array.from(sequence).length, 0);
  return markup`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What moves ${param}</title>
<style>${raw(style)}</style>
<header>
  <p class="over">Switchyard · gradient ledger</p>
  <h1>What moves <code>${param}</code></h1>
  <p class="meta">${run} on ${device} · loss ${number(ledger.loss)} · ${tokens} tokens · gradient norm ${number(entry.norm)}</p>
</header>
<main>
  <section class="half"><h2>Whose gradient it is</h2>${bars(entry, terms)}</section>
  <section class="half"><h2>Where parts cancel</h2>${cancellations(entries, terms)}</section>
  <section><h2>How it flows</h2>
    <p class="note">From the loss down to the parameters. The width of an edge is the logarithm of what flows along it, over four decades; its colour is that of the
    term that gives the most. Click a parameter to light its paths.</p>
    <div class="graph">${raw(await graphSvg(ledger.graph, terms))}</div>
  </section>
  ${router && markup`<section><h2>Token by expert, at the logits of ${router.router}</h2>${heatmap(router, text)}</section>`}
  <section><h2>The strongest path, step by step</h2>${stepTable(entry)}</section>
  ${entry.why && markup`<section><h2>Why some of it is exactly zero</h2>${zeroList(entry)}</section>`}
</main>
<script type="application/json" id="graph">${raw(graphData(ledger.graph))}</script>
<script>${raw(script)}</script>
</html>
`.html;
}

/** The router of the layer that a parameter is in, or the last. */
function routerOf(param: string, routers: readonly RouterExplanation[]): RouterExplanation | undefined {
  const layerOf = ({ router }: RouterExplanation): string => router.replace(/\/?router$/, "").replaceAll("/", ".");
  return routers.find((router) => param.startsWith(`${layerOf(router)}.`)) ?? routers.at(-1);
}

async function graphSvg(graph: GradientGraph, terms: readonly string[]): Promise<string> {
  const { instance } = await import("@viz-js/viz"); // large: other commands start without it
  const viz = await instance();
  const svg = viz.renderString(pageDot(graph, terms), { format: "svg" });
  return svg.slice(svg.indexOf("<svg"));
}

/** What the script needs to light paths: edges by the ids of their elements. */
function graphData(graph: GradientGraph): string {
  const ids = elementIds(graph);
  const edges = graph.edges.map(({ from, to }) => [ids.get(from), ids.get(to)]);
  const parameters = graph.nodes.filter(({ kind }) => kind === "parameter").map(({ id }) => ids.get(id));
  return JSON.stringify({ edges, parameters });
}
