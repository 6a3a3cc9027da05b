import { round, type Chart } from "../runner/report.ts";
import type { Experiment, Means, Measured } from "./experiment.ts";

/** Mean and sample standard deviation over the seeds. */
interface Spread {
  readonly mean: number;
  readonly deviation: number;
}

export type Summary = Readonly<Record<string, Readonly<Record<string, Spread>>>>;

export function summarize({ settings }: Experiment, runs: Readonly<Record<string, readonly Measured[]>>): Summary {
  const of = (setting: string) =>
    Object.fromEntries(
      Object.keys(runs[setting][0]).map((metric) => [metric, spread(runs[setting].map((run) => run[metric]))]),
    );
  return Object.fromEntries(Object.keys(settings).map((setting) => [setting, of(setting)]));
}

function spread(values: readonly number[]): Spread {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : NaN };
}

/** The page that is kept: the claim, the table, what holds. */
export function pageOf(name: string, { claim, task, checks }: Experiment, summary: Summary, how: string): string {
  const metrics = Object.keys(Object.values(summary)[0]);
  const means: Means = (setting, metric) => summary[setting][metric].mean;
  const cell = ({ mean, deviation }: Spread): string => `${round(mean)} ± ${round(deviation)}`;
  return [
    `# ${name}`,
    "",
    `> ${claim}`,
    "",
    `${task}. Mean ± standard deviation over seeds. \`npm run experiment -- ${name}\` makes this page (${how}).`,
    "",
    `| | ${metrics.join(" | ")} |`,
    `|---|${metrics.map(() => "---").join("|")}|`,
    ...Object.entries(summary).map(
      ([setting, row]) => `| ${setting} | ${metrics.map((metric) => cell(row[metric])).join(" | ")} |`,
    ),
    "",
    ...checks.map(({ says, holds }) => `- ${holds(means) ? "holds" : "**does not hold**"}: ${says}`),
    "",
    `![${name}](${name}.svg)`,
    "",
  ].join("\n");
}

export const chartOf = (name: string, { plotted }: Experiment, summary: Summary): Chart => ({
  title: name,
  unit: plotted,
  bars: Object.entries(summary).map(([setting, row]) => ({ group: "", label: setting, value: row[plotted].mean })),
});
