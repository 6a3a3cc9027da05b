import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svgOf } from "./chart.ts";
import { machineLine, type Machine } from "./machine.ts";
import { verdict, type Bar, type Report } from "./report.ts";

const directory = fileURLToPath(new URL("../results/", import.meta.url));

/** Keeps a report as `results/<suite>.json` and its chart as `results/<suite>.svg`. */
export function keep(suite: string, machine: Machine, seconds: number, report: Report): void {
  mkdirSync(directory, { recursive: true });
  const date = today();
  const json = { suite, date, seconds: Math.round(seconds), machine, ...report };
  writeFileSync(`${directory}${suite}.json`, `${JSON.stringify(json, rounded, 1)}\n`);
  writeFileSync(`${directory}${suite}.svg`, svgOf(report.chart, `${date}, ${machineLine(machine)}`));
}

/** Keeps the bars of a run of every suite as the page `results/bars.md`. */
export function keepBars(machine: Machine, summary: string, bars: readonly Bar[]): void {
  const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rows = bars.map((bar) => row([bar.what, bar.bar, bar.measured, verdict(bar)]));
  const head = `# All bars, met and missed\n\nWhat \`npm run bench\` found on ${today()}: ${summary}\n\n${machineLine(machine)}`;
  const table = [row(["what", "bar", "measured", ""]), row(["---", "---", "---", "---"]), ...rows].join("\n");
  writeFileSync(`${directory}bars.md`, `${head}\n\n${table}\n`);
}

const today = (): string => new Date().toISOString().slice(0, 10);

/** Six digits are more than any clock gives; NaN has no JSON. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === "number" ? (Number.isFinite(value) ? Number(value.toPrecision(6)) : null) : value;
