import * as Plot from "@observablehq/plot";
import { draw, type Figure } from "./figures.ts";
import type { RunData } from "./runData.ts";
import { groupBy } from "./groupBy.ts";
import { layerUses, type LayerUse } from "./series.ts";

/** A share of the load. */
interface Cell {
  readonly layer: string;
  readonly step: number;
  readonly expert: number;
  /** In even shares. */
  readonly relative: number;
  /** How far from even, by its logarithm: 1 and -1 are the strongest colours. */
  readonly excess: number;
}

/** The colour is full where a share is as far from even as any, or a quarter more or less, if none is. */
function cellsOf(uses: readonly LayerUse[]): { readonly cells: readonly Cell[]; readonly full: number } {
  const shares = uses.flatMap(({ counts, layer, step }) => {
    const total = counts.reduce((sum, n) => sum + n, 0) || 1;
    return counts.map((n, expert) => ({ layer, step, expert, relative: (n / total) * counts.length }));
  });
  // An expert without any token would stretch the scale without end: it is as far off as one with a sixteenth.
  const distance = (relative: number): number => Math.log2(Math.max(relative, 1 / 16));
  const full = shares.reduce((most, { relative }) => Math.max(most, Math.abs(distance(relative))), Math.log2(1.25));
  return { full: 2 ** full, cells: shares.map((cell) => ({ ...cell, excess: distance(cell.relative) / full })) };
}

const cellFill = {
  fill: (d: Cell) => (d.excess < 0 ? "less" : "more"),
  fillOpacity: (d: Cell) => Math.max(0.04, Math.abs(d.excess)),
};
const cellScales = {
  color: { domain: ["less", "more"], range: ["var(--less)", "var(--more)"] },
  opacity: { type: "identity" },
} as const;
const cellLegend = (full: number): Figure["legend"] => [
  { name: `less than even, down to 1/${full.toFixed(1)}`, color: "var(--less)" },
  { name: `more, up to ${full.toFixed(1)} times`, color: "var(--more)" },
];

/** Expert by layer at the end of a run, the last tenth of what it told of. */
export function loadFigure({ metrics, name }: RunData, isAlone: boolean): Figure | undefined {
  const uses = layerUses(metrics);
  if (uses.length === 0) return undefined;
  const layers = [...groupBy(uses, (use) => use.layer)].map(([layer, of]): LayerUse => {
    const late = of.slice(-Math.ceil(of.length / 10));
    const counts = late[0].counts.map((_, e) => late.reduce((sum, use) => sum + use.counts[e], 0));
    return { ...late[0], layer, counts };
  });
  const { cells, full } = cellsOf(layers);
  const inWords = (d: Cell): string => d.relative.toFixed(2);
  const hasRoom = layers[0].counts.length <= 16;
  const svg = draw({
    x: { label: "expert", type: "band", padding: 0.06 },
    y: { label: null, type: "band", padding: 0.06 },
    ...cellScales,
    height: 60 + 34 * layers.length,
    marginLeft: 60,
    marks: [
      Plot.cell(cells, { x: "expert", y: "layer", ...cellFill, rx: 3, title: inWords }),
      ...(hasRoom ? [Plot.text(cells, { x: "expert", y: "layer", text: inWords, fill: "var(--ink)" })] : []),
    ],
  });
  const whose = isAlone ? "" : ` of ${name}`;
  return {
    svg,
    caption: `Load of each expert at the end${whose}, in even shares: 1 is its fair part.`,
    legend: cellLegend(full),
  };
}

/** Steps shown of a history: as many as can be told apart. */
const mostColumns = 64;

/** Expert by step, a strip for each layer. */
export function loadHistoryFigure({ metrics, name }: RunData, isAlone: boolean): Figure | undefined {
  const uses = layerUses(metrics);
  const told = [...new Set(uses.map((use) => use.step))];
  if (told.length < 3) return undefined;
  const every = Math.ceil(told.length / mostColumns);
  const shown = new Set(told.filter((_, i) => i % every === 0));
  const { cells, full } = cellsOf(uses.filter((use) => shown.has(use.step)));
  const strips = new Set(uses.map((use) => use.layer)).size;
  const ticks = [...shown].filter((_, i, all) => i % Math.ceil(all.length / 10) === 0);
  const svg = draw(
    {
      x: { label: "step", type: "band", padding: 0, ticks },
      y: { label: null, type: "band", padding: 0, ticks: [] },
      fy: { label: null, padding: 0.12 },
      ...cellScales,
      height: 50 + Math.min(90, 14 * uses[0].counts.length) * strips,
      marginLeft: 12,
      marginRight: 60,
      marks: [Plot.cell(cells, { x: "step", y: "expert", fy: "layer", ...cellFill, inset: 0 })],
    },
    true,
  );
  const whose = isAlone ? "" : `, ${name}`;
  return { svg, caption: `Load over time${whose}: a row for each expert.`, legend: cellLegend(full), wide: true };
}
