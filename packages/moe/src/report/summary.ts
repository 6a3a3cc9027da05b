import type { RunData } from "./runData.ts";
import { bestOf, course, layerUses, taskLoss, throughput } from "./series.ts";

/** A line about a run. */
export function describeRun({ config, metrics, name }: RunData): string {
  const day = new Date(metrics[0].time).toISOString().slice(0, 10);
  if (!config) return `${name}: ${metrics.at(-1)!.step} steps, begun ${day}`;
  const { layers, dim, experts, k } = config.model;
  return `${layers} layers of width ${dim}, ${experts} experts, ${k} for each token; seed ${config.seed}; begun ${day}`;
}

const grouped = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const median = (values: readonly number[]): number | undefined =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** What one asks first of a run, in words that fit a tile or the head of a column. */
export function summaryOf(run: RunData): [name: string, value: string][] {
  const { metrics, config } = run;
  const best = bestOf(metrics);
  const speed = median(throughput(run).map((point) => point.value));
  const late = layerUses(metrics).slice(-Math.ceil(layerUses(metrics).length / 10));
  const cvSquared = late.reduce((sum, use) => sum + use.cvSquared, 0) / late.length;
  const steps = metrics.at(-1)!.step;
  const tokens = config && steps * config.batch * config.accumulate * config.model.context;
  const rows: [string, string | undefined][] = [
    ["steps", grouped.format(steps)],
    ["tokens seen", tokens === undefined ? undefined : compact.format(tokens)],
    ["training loss, last", course(metrics, "", taskLoss).at(-1)?.value.toFixed(3)],
    ["held-out loss, best", best?.value.toFixed(3)],
    ["held-out perplexity, best", best && Math.exp(best.value).toFixed(2)],
    ["bits per token, best", best && (best.value / Math.LN2).toFixed(2)],
    ["CV² of the load, end", late.length === 0 ? undefined : cvSquared.toFixed(4)],
    [config ? "tokens per second" : "steps per second", speed === undefined ? undefined : compact.format(speed)],
  ];
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
}
