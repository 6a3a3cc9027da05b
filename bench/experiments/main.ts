/** `npm run experiment -- NAME [seeds]`: tries a claim of the field small, on so many seeds, and keeps table and plot in `bench/experiments/results`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { init } from "@switchyard/tensor";
import { describeMachine, machineLine } from "../runner/machine.ts";
import { svgOf } from "../runner/chart.ts";
import type { Experiment, Measured } from "./experiment.ts";
import { chartOf, pageOf, summarize } from "./page.ts";

/** Loaded when asked for: some read a book first. */
const experiments: Readonly<Record<string, () => Promise<Experiment>>> = {
  collapse: async () => (await import("./collapse.ts")).collapse,
  scaling: async () => (await import("./scaling.ts")).scaling,
  lossFree: async () => (await import("./lossFree.ts")).lossFree,
  topOne: async () => (await import("./topOne.ts")).topOne,
  sparseOrDense: async () => (await import("./sparseOrDense.ts")).sparseOrDense,
  recurrent: async () => (await import("./recurrent.ts")).recurrent,
  capacity: async () => (await import("./capacity.ts")).capacity,
};

const [name, seeds = "3"] = process.argv.slice(2);
const count = Number(seeds);
if (!Object.hasOwn(experiments, name) || !(Number.isInteger(count) && count >= 1)) {
  console.error(`usage: npm run experiment -- NAME [seeds]; experiments are ${Object.keys(experiments).join(" ")}`);
  process.exit(2);
}

await init("wasm", { threads: 1 });
const experiment = await experiments[name]();
const began = performance.now();
const runs: Record<string, Measured[]> = {};
for (let seed = 0; seed < count; seed++)
  for (const [setting, run] of Object.entries(experiment.settings)) {
    const measured = await run(seed);
    (runs[setting] ??= []).push(measured);
    console.log(`seed ${seed}, ${setting}: ${JSON.stringify(measured)}`);
  }
const summary = summarize(experiment, runs);
const minutes = (performance.now() - began) / 60_000;
const how = `${count} seeds, ${minutes.toFixed(1)} minutes; ${machineLine(describeMachine())}`;
const page = pageOf(name, experiment, summary, how);
const results = new URL("results/", import.meta.url);
mkdirSync(results, { recursive: true });
writeFileSync(new URL(`${name}.md`, results), page);
writeFileSync(new URL(`${name}.svg`, results), svgOf(chartOf(name, experiment, summary), how));
console.log(`\n${page}`);
process.exit();
