import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import {
  chanceOf,
  course,
  groupBy,
  heldOutLoss,
  layerUses,
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
function draw(options: Plot.PlotOptions, isWide = false): string {
  const svg = Plot.plot({
    document: document as unknown as Document,
    width: isWide ? width.whole : width.half,
    height: 260,
    marginLeft: 52,
    marginBottom: 38,
    style: { fontFamily: "inherit", fontSize: "12px", background: "none" },
    ...options,
  });
  return svg.outerHTML;
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

export const throughputFigure = (runs: readonly RunData[]): Figure | undefined =>
  curves(runs.flatMap(throughput), "Throughput while the run was trained.", {
    label: runs[0].config ? "tokens per second" : "steps per second",
    tickFormat: "~s",
    zero: true,
  });

/** A series for each layer of one run, or, of several, the mean over layers of each. */
function byLayer(runs: readonly RunData[], valueOf: (use: LayerUse) => number): Point[] {
  if (runs.length === 1)
    return layerUses(runs[0].metrics).map((use) => ({ step: use.step, value: valueOf(use), series: use.layer }));
  return runs.flatMap(({ metrics, name }) =>
    [...groupBy(layerUses(metrics), (use) => use.step)].map(([step, uses]) => ({
      step,
      value: uses.reduce((sum, use) => sum + valueOf(use), 0) / uses.length,
      series: name,
    })),
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

/** How a share of the load differs from an even one: by how much more than even in one colour, how much less in another. */
function loadCells(uses: readonly LayerUse[]) {
  return uses.flatMap(({ counts, layer, step }) => {
    const total = counts.reduce((sum, n) => sum + n, 0) || 1;
    return counts.map((n, expert) => {
      const relative = (n / total) * counts.length;
      return {
        layer,
        step,
        expert,
        relative,
        excess: Math.max(-1, Math.min(1, Math.log2(Math.max(relative, 1e-3)) / 2)),
      };
    });
  });
}
/** The colour says which side, its strength how far: full at four times, or a quarter of, an even share. */
const cellFill = {
  fill: (d: { excess: number }) => (d.excess < 0 ? "less" : "more"),
  fillOpacity: (d: { excess: number }) => Math.max(0.04, Math.abs(d.excess)),
};
const cellScales = {
  color: { domain: ["less", "more"], range: ["var(--less)", "var(--more)"] },
  opacity: { type: "identity" },
} as const;

/** Expert by layer at the end of a run, the last tenth of what it told of. */
export function loadFigure({ metrics, name }: RunData, isAlone: boolean): Figure | undefined {
  const uses = layerUses(metrics);
  if (uses.length === 0) return undefined;
  const layers = [...groupBy(uses, (use) => use.layer)].map(([layer, of]): LayerUse => {
    const late = of.slice(-Math.ceil(of.length / 10));
    const counts = late[0].counts.map((_, e) => late.reduce((sum, use) => sum + use.counts[e], 0));
    return { ...late[0], layer, counts };
  });
  const cells = loadCells(layers);
  const count = layers[0].counts.length;
  const svg = draw({
    x: { label: "expert", type: "band", padding: 0.06 },
    y: { label: null, type: "band", padding: 0.06 },
    ...cellScales,
    height: 60 + 34 * layers.length,
    marginLeft: 60,
    marks: [
      Plot.cell(cells, {
        x: "expert",
        y: "layer",
        ...cellFill,
        rx: 3,
        title: (d: { relative: number }) => `${d.relative.toFixed(2)} × even`,
      }),
      ...(count <= 16
        ? [
            Plot.text(cells, {
              x: "expert",
              y: "layer",
              text: (d: { relative: number }) => d.relative.toFixed(2),
              fill: "var(--ink)",
            }),
          ]
        : []),
    ],
  });
  return {
    svg,
    caption: `Load of each expert at the end${isAlone ? "" : ` of ${name}`}, in even shares: 1 is its fair part.`,
    legend: [
      { name: "less than even", color: "var(--less)" },
      { name: "more", color: "var(--more)" },
    ],
  };
}

/** Expert by step, a strip for each layer. */
export function loadHistoryFigure({ metrics, name }: RunData, isAlone: boolean): Figure | undefined {
  const uses = layerUses(metrics);
  const told = [...new Set(uses.map((use) => use.step))];
  if (told.length < 3) return undefined;
  const every = Math.ceil(told.length / 100);
  const shown = new Set(told.filter((_, i) => i % every === 0));
  const cells = loadCells(uses.filter((use) => shown.has(use.step)));
  const layers = new Set(uses.map((use) => use.layer)).size;
  const ticks = [...shown].filter((_, i, all) => i % Math.ceil(all.length / 10) === 0);
  const svg = draw(
    {
      x: { label: "step", type: "band", padding: 0, ticks },
      y: { label: null, type: "band", padding: 0, ticks: [] },
      fy: { label: null, padding: 0.12 },
      ...cellScales,
      height: 50 + Math.min(90, 14 * uses[0].counts.length) * layers,
      marginLeft: 12,
      marginRight: 60,
      marks: [
        Plot.cell(cells, {
          x: "step",
          y: "expert",
          fy: "layer",
          ...cellFill,
          inset: 0,
          title: (d: { expert: number; relative: number; step: number }) =>
            `expert ${d.expert}, step ${d.step}: ${d.relative.toFixed(2)} × even`,
        }),
      ],
    },
    true,
  );
  return {
    svg,
    caption: `Load over time${isAlone ? "" : `, ${name}`}: a row for each expert, colours as before.`,
    legend: [],
    wide: true,
  };
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
export function profileFigure({ look }: RunData): Figure | undefined {
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
    caption: `Where the ${total.toFixed(0)} ms of a profiled step go, on ${look.device}, where this page was made: the ten longest of ${look.kernels.length} kernels.`,
    legend: [],
  };
}
