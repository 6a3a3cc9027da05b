/** What a suite found, in the form in which it is printed, plotted and kept. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

/** A promise and whether it is kept. */
export interface Bar {
  readonly what: string;
  /** In words, with its unit. */
  readonly bar: string;
  readonly measured: string;
  /** undefined: it could not be measured here. */
  readonly met: boolean | undefined;
}

export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly { readonly group: string; readonly label: string; readonly value: number }[];
}

export interface Report {
  readonly tables: readonly Table[];
  readonly bars: readonly Bar[];
  readonly chart: Chart;
  /** Remarks that a reader of the numbers needs. */
  readonly notes: readonly string[];
  /** What was measured, unrounded. */
  readonly data: unknown;
}

/** At least so much. */
export const atLeast = (what: string, value: number, least: number, unit = "x"): Bar => ({
  what,
  bar: `at least ${least}${unit}`,
  measured: Number.isNaN(value) ? "not measured" : `${round(value)}${unit}`,
  met: Number.isNaN(value) ? undefined : value >= least,
});

/** At most so much. */
export const atMost = (what: string, value: number, most: number, unit = "x"): Bar => ({
  what,
  bar: `at most ${round(most)}${unit}`,
  measured: Number.isNaN(value) ? "not measured" : `${round(value)}${unit}`,
  met: Number.isNaN(value) ? undefined : value <= most,
});

/** Three significant digits. */
export const round = (x: number): number => (x === 0 ? 0 : Number(x.toPrecision(Math.abs(x) >= 100 ? 4 : 3)));

export const verdict = ({ met }: Bar): string => (met === undefined ? "-" : met ? "met" : "MISSED");

/** The report as lines of text. */
export function printed({ tables, bars, notes }: Pick<Report, "tables" | "bars" | "notes">): string {
  const parts = tables.map((table) => `${table.title}\n${grid([table.columns, ...table.rows])}`);
  if (bars.length > 0) {
    const rows = bars.map((bar) => [bar.what, bar.bar, bar.measured, verdict(bar)]);
    parts.push(`Bars\n${grid([["what", "bar", "measured", ""], ...rows])}`);
  }
  if (notes.length > 0) parts.push(notes.map((note) => `  * ${note}`).join("\n"));
  return parts.join("\n\n");
}

function grid(rows: readonly (readonly (string | number)[])[]): string {
  const text = rows.map((row) => row.map((cell) => (typeof cell === "number" ? numberText(cell) : cell)));
  const widths = text[0].map((_, i) => Math.max(...text.map((row) => row[i].length)));
  const line = (row: readonly string[], r: number): string =>
    row
      .map((cell, i) => (r > 0 && typeof rows[r][i] === "number" ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join("  ");
  return text.map((row, r) => `  ${line(row, r)}`.trimEnd()).join("\n");
}

const numberText = (x: number): string => (Number.isNaN(x) ? "-" : String(round(x)));
