import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svgOf } from "./chart.ts";
import { machineLine, type Machine } from "./machine.ts";
import type { Report } from "./report.ts";

const directory = fileURLToPath(new URL("../results/", import.meta.url));

/** Keeps a report as `results/<suite>.json` and its chart as `results/<suite>.svg`. */
export function keep(suite: string, machine: Machine, seconds: number, report: Report): void {
  mkdirSync(directory, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  const json = { suite, date, seconds: Math.round(seconds), machine, ...report };
  writeFileSync(`${directory}${suite}.json`, `${JSON.stringify(json, rounded, 1)}\n`);
  writeFileSync(`${directory}${suite}.svg`, svgOf(report.chart, `${date}, ${machineLine(machine)}`));
}

/** Six digits are more than any clock gives; NaN has no JSON. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === "number" ? (Number.isFinite(value) ? Number(value.toPrecision(6)) : null) : value;
