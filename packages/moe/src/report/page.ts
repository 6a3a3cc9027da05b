import * as figures from "./figures.ts";
import type { Figure } from "./figures.ts";
import { loadFigure, loadHistoryFigure } from "./loadFigures.ts";
import { markup, raw, type Html } from "./markup.ts";
import type { RunData } from "./runData.ts";
import { comparison, configs, findings, passage, samples, tiles } from "./sections.ts";
import { style } from "./style.ts";
import { describeRun } from "./summary.ts";

/** The page of one run, or of several beside each other. Nothing in it comes from elsewhere. */
export function pageOf(runs: readonly RunData[]): string {
  const isAlone = runs.length === 1;
  const number = numbering();
  const title = isAlone ? `Run ${runs[0].name}` : `Runs ${runs.map(({ name }) => name).join(", ")}`;
  const each = (figureOf: (run: RunData, isAlone: boolean) => Figure | undefined): (Figure | undefined)[] =>
    runs.map((run) => figureOf(run, isAlone));
  const page = markup`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        <style>
          ${raw(style)}
        </style>
      </head>
      <body>
        <main>
          <header>
            <h1>${title}</h1>
            <p class="sub">${runs.map(describeRun).join(" · ")}</p>
          </header>
          ${isAlone ? tiles(runs[0]) : comparison(runs)}
          ${section("Learning", number, [
            figures.lossFigure(runs),
            figures.rateFigure(runs),
            figures.gradientFigure(runs),
            figures.lossScaleFigure(runs),
          ])}
          ${section("Routing", number, [
            figures.balanceFigure(runs),
            figures.entropyFigure(runs),
            ...each(loadFigure),
            ...each(figures.routerFigure),
            ...each(loadHistoryFigure),
          ])}
          ${runs.map((run) => passage(run, isAlone))}
          ${section("Speed", number, [figures.throughputFigure(runs), isAlone ? figures.profileFigure(runs[0]) : undefined])}
          ${findings(runs)} ${runs.map((run) => samples(run, isAlone))} ${configs(runs)}
          <footer>Written by switchyard report. This page needs no network: what it shows is in it.</footer>
        </main>
        <script>
          ${raw(script)}
        </script>
      </body>
    </html> `;
  return page.html;
}

/** Shows the layer that is chosen; without it, the first is shown. */
const script = `for (const input of document.querySelectorAll(".controls input"))
  input.addEventListener("change", () => {
    for (const passage of input.closest("section").querySelectorAll(".passage"))
      passage.style.display = passage.dataset.layer === input.value ? "block" : "none";
  });`;

const numbering = (): (() => number) => {
  let last = 0;
  return () => ++last;
};

function section(heading: string, number: () => number, drawn: readonly (Figure | undefined)[]): Html | undefined {
  const shown = drawn.filter((figure) => figure !== undefined);
  if (shown.length === 0) return undefined;
  return markup`<section>
    <h2>${heading}</h2>
    <div class="figures">${shown.map((figure) => figureOf(figure, number()))}</div>
  </section>`;
}

const figureOf = ({ svg, caption, legend, wide }: Figure, number: number): Html =>
  markup` <figure class="${wide ? "wide" : "half"}">
    ${legend.length > 0 && markup`<div class="legend">${legend.map(({ name, color }) => markup`<span><i style="background:${color}"></i>${name}</span>`)}</div>`}
    ${raw(svg)}
    <figcaption><b>Figure ${number}.</b>${caption}</figcaption>
  </figure>`;
