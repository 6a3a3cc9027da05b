import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { groupBy } from "./groupBy.ts";
import {
  chanceOf,
  course,
  heldOutLoss,
  inParts,
  layerUses,
  meanOf,
  taskLoss,
  throughput,
  type LayerUse,
  type Point,
} from "./series.ts";
import type { RunData } from "./runData.ts";
import { seriesColor } from "./style.ts";

/** A drawing and what it shows. */
export interface Figure {
  /** SVG. */
  readonly svg: string;
  /** HTML. */
  readonly caption: string;
  /** What stands for which colour, if there are several. */
  readonly legend: readonly { readonly name: string; readonly color: string }[];
  /** Whether it needs the whole width of the page. */
  readonly wide?: boolean;
}

const width = { half: 520, whole: 1080 };
const { document } = parseHTML("<!doctype html><html><body></body></html>");

/** Draws, in the page's colours: axes without lines, a grid that one sees only when looking for it. */
export function draw(options: Plot.PlotOptions, isWide = false): string {
  const svg = Plot.plot({
    document: document as unknown as Document,
    width: isWide ? width.whole : width.half,
    height: 260,
    marginLeft: 52,
    marginBottom: 38,
    style: { fontSize: "12px", background: "none" },
    ...options,
  });
  // A hundredth of a pixel is more than a screen shows. Between tags are words, which stay as they are.
  return svg.outerHTML.replaceAll(/<[^>]*>/g, (tag) => tag.replaceAll(/(\d\.\d\d)\d+/g, "$1"));
}

const colors = (names: readonly string[]) => ({ domain: [...names], range: names.map((_, i) => seriesColor(i)) });
const legendOf = (names: readonly string[]): Figure["legend"] =>
  names.length < 2 ? [] : names.map((name, i) => ({ name, color: seriesColor(i) }));
const steps = { label: "step", grid: false, ticks: 6 } as const;
const line = { x: "step", y: "value", stroke: "series", strokeWidth: 1.75 } as const;

/** A figure of a curve for each series; undefined if there is nothing to show. */
function curves(
  points: readonly Point[],
  caption: string,
  y: Plot.ScaleOptions & { label: string },
  more: Plot.Markish[] = [],
): Figure | undefined {
  if (points.length < 2) return undefined;
  const names = [...new Set(points.map((point) => point.series))];
  const svg = draw({
    x: steps,
    y: { grid: true, ticks: 5, ...y },
    color: colors(names),
    marks: [...more, Plot.lineY(points, line)],
  });
  return { svg, caption, legend: legendOf(names) };
}

const rule = (value: number, text: string): Plot.Markish[] => [
  Plot.ruleY([value], { stroke: "var(--faint)", strokeDasharray: "4 4" }),
  Plot.text([text], { frameAnchor: "right", y: value, dy: -7, textAnchor: "end", fill: "var(--muted)" }),
];

export function lossFigure(runs: readonly RunData[]): Figure | undefined {
  const trained = runs.flatMap(({ metrics, name }) => course(metrics, name, taskLoss));
  if (trained.length < 2) return undefined;
  const judged = runs.flatMap(({ metrics, name }) => course(metrics, name, heldOutLoss));
  const { entropies } = runs[0].look ?? {};
  const names = runs.map(({ name }) => name);
  const marks = [
    ...(entropies ? [...rule(entropies.unigram, "single tokens"), ...rule(entropies.bigram, "pairs of tokens")] : []),
    Plot.lineY(trained, { ...line, strokeOpacity: 0.55, strokeWidth: 1.25 }),
    Plot.lineY(judged, line),
    Plot.dot(judged, { x: "step", y: "value", fill: "series", r: 3.2, stroke: "var(--paper)", strokeWidth: 1 }),
  ];
  return {
    svg: draw({ x: steps, y: { grid: true, label: "loss (nats)" }, color: colors(names), height: 340, marks }, true),
    caption: `Loss of the task in training (thin) and on held-out data (dots).${entropies ? " Dashed: what tables of single tokens and of pairs would reach." : ""}`,
    legend: legendOf(names),
    wide: true,
  };
}

export const rateFigure = (runs: readonly RunData[]): Figure | undefined =>
  curves(
    runs.flatMap(({ metrics, name }) => course(metrics, name, (r) => r.learningRate)),
    "Learning rate.",
    { label: "learning rate", tickFormat: "~e" },
  );

export const gradientFigure = (runs: readonly RunData[]): Figure | undefined =>
  curves(
    runs.flatMap(({ metrics, name }) => course(metrics, name, (r) => r.gradientNorm)),
    "Norm of the gradient, before clipping.",
    { label: "gradient norm", type: "log", ticks: 4, tickFormat: "~g" },
  );

export const lossScaleFigure = (runs: readonly RunData[]): Figure | undefined =>
  curves(
    runs.flatMap(({ metrics, name }) => course(metrics, name, (r) => r.lossScale)),
    "Scale of the loss, in f16: it halves where a gradient overflows and the step is skipped.",
    { label: "scale of the loss", type: "log", base: 2, ticks: 4 },
  );

export const throughputFigure = (runs: readonly RunData[]): Figure | undefined =>
  curves(
    runs.flatMap((run) => throughput(run, fewPoints)),
    "Throughput while the run was trained.",
    {
      label: runs[0].config ? "tokens per second" : "steps per second",
      tickFormat: "~s",
      zero: true,
    },
  );

/** What is mostly noise from step to step is shown as means over so many parts of the run. */
const fewPoints = 48;

/** A series for each layer of one run, or, of several, the mean over layers of each. */
function byLayer(runs: readonly RunData[], valueOf: (use: LayerUse) => number): Point[] {
  const seriesOf = (use: LayerUse, run: RunData): string => (runs.length === 1 ? use.layer : run.name);
  return runs.flatMap((run) =>
    [...groupBy(layerUses(run.metrics), (use) => seriesOf(use, run))].flatMap(([series, uses]) => {
      const told = [...groupBy(uses, (use) => use.step)];
      const points = told.map(([step, of]) => ({ step, series, value: meanOf(of.map(valueOf)) }));
      return inParts(points, fewPoints);
    }),
  );
}
const ofWhat = (runs: readonly RunData[]): string =>
  runs.length === 1 ? "of each layer" : "of each run, mean of its layers";

export function balanceFigure(runs: readonly RunData[]): Figure | undefined {
  const points = byLayer(runs, (use) => use.cvSquared).filter((point) => point.value > 0);
  const [use] = layerUses(runs[0].metrics);
  const k = runs[0].config?.model.k;
  const chance = use && k !== undefined ? chanceOf(use, k) : undefined;
  return curves(
    points,
    `Imbalance ${ofWhat(runs)}: squared coefficient of variation of the tokens by expert.${chance === undefined ? "" : " Dashed: what chance alone makes of a batch."}`,
    { label: "CV²", type: "log", ticks: 4, tickFormat: "~g" },
    chance === undefined || chance === 0 ? [] : rule(chance, "chance"),
  );
}

export function entropyFigure(runs: readonly RunData[]): Figure | undefined {
  const [use] = layerUses(runs[0].metrics);
  if (!use) return undefined;
  const most = Math.log(use.counts.length);
  return curves(
    byLayer(runs, (u) => u.entropy),
    `Entropy of the router's probabilities ${ofWhat(runs)}, mean over tokens. Dashed: all ${use.counts.length} experts alike.`,
    { label: "nats", domain: [0, most * 1.08] },
    rule(most, `ln ${use.counts.length}`),
  );
}

/** What moves each router: the terms' shares of its gradient. */
export function routerFigure({ look, name }: RunData, isAlone: boolean): Figure | undefined {
  if (!look || look.router.length === 0) return undefined;
  const terms = [...new Set(look.router.map((part) => part.term))];
  const rows = look.router.map((part) => ({ ...part, layer: `layer ${part.layer}` }));
  const svg = draw({
    x: { label: "share of the gradient", grid: true, tickFormat: "~%" },
    y: { label: null, padding: 0.3 },
    color: colors(terms),
    height: 70 + 34 * new Set(rows.map((row) => row.layer)).size,
    marginLeft: 60,
    marks: [
      Plot.barX(rows, {
        x: "share",
        y: "layer",
        fill: "term",
        title: (d: { term: string; norm: number; share: number }) =>
          `${d.term}: ${(100 * d.share).toFixed(0)} %, norm ${d.norm.toExponential(2)}`,
      }),
      Plot.ruleX([0], { stroke: "var(--faint)" }),
    ],
  });
  return {
    svg,
    caption: `What moves the routers${isAlone ? "" : ` of ${name}`}: each term's share of the gradient of the gate, ⟨part, whole⟩ / ‖whole‖², on one batch. They add up to 1; below 0 a term works against the rest.`,
    legend: legendOf(terms),
  };
}

/** Where the time of a step goes. */
export function profileFigure({ look, config }: RunData): Figure | undefined {
  if (!look || look.kernels.length === 0) return undefined;
  const total = look.kernels.reduce((sum, kernel) => sum + kernel.ms, 0);
  const rows = look.kernels.slice(0, 10).map((kernel) => ({ ...kernel, share: kernel.ms / total }));
  const svg = draw({
    x: { label: "share of a step", grid: true, tickFormat: "~%" },
    y: { label: null, domain: rows.map((row) => row.name), padding: 0.3 },
    height: 60 + 22 * rows.length,
    marginLeft: 190,
    marks: [
      Plot.barX(rows, {
        x: "share",
        y: "name",
        fill: "var(--s0)",
        title: (d: { ms: number; calls: number; flops: number }) =>
          `${d.ms.toFixed(2)} ms in ${d.calls} calls, ${(d.flops / d.ms / 1e6).toFixed(1)} GFLOP/s`,
      }),
    ],
  });
  return {
    svg,
    caption: `Where the ${total.toFixed(0)} ms of a profiled step${config?.precision === "f16" ? " in f32" : ""} go, on ${look.device}, where this page was made: the ten longest of ${look.kernels.length} kernels.`,
    legend: [],
  };
}
