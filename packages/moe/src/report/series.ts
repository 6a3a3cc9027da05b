import { samplingFloor } from "../diagnostics/samplingFloor.ts";
import type { StepRecord } from "../training/runLog.ts";
import type { RunData } from "./runData.ts";

/** A point of a curve: a value after so many steps, of a series. */
export interface Point {
  readonly step: number;
  readonly value: number;
  readonly series: string;
}

/** More points than this no figure can show. */
const mostPoints = 300;

/** The course of a value over a run, as means over equal parts of it where it has more points than a figure can show. */
export function course(
  records: readonly StepRecord[],
  series: string,
  valueOf: (record: StepRecord, index: number) => number | undefined,
): Point[] {
  const known = records.flatMap((record, i) => {
    const value = valueOf(record, i);
    return value === undefined || !Number.isFinite(value) ? [] : [{ step: record.step, value, series }];
  });
  return inParts(known, mostPoints);
}

/** At most so many points, each the mean of its part of a curve of one series, at the end of it. */
export function inParts(points: readonly Point[], most: number): Point[] {
  const count = Math.min(points.length, most);
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i, i + 1].map((part) => Math.floor((part * points.length) / count));
    const part = points.slice(from, to);
    return { ...part.at(-1)!, value: meanOf(part.map((point) => point.value)) };
  });
}

export const meanOf = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

/** The loss of the task: without what balances, where the model tells it apart. */
export const taskLoss = ({ scalars }: StepRecord): number => scalars.crossEntropy ?? scalars.loss;
export const heldOutLoss = ({ evaluation }: StepRecord): number | undefined =>
  evaluation && (evaluation.crossEntropy ?? evaluation.loss);

/** The lowest loss on held-out data, and after how many steps it was. */
export function bestOf(metrics: readonly StepRecord[]): Point | undefined {
  const points = course(metrics, "", heldOutLoss);
  return points.length === 0 ? undefined : points.reduce((best, point) => (point.value < best.value ? point : best));
}

/** Tokens a second, from one noted step to the next; a pause, as between two parts of a run, is left out. */
export function throughput({ metrics, config, name }: RunData, most: number = mostPoints): Point[] {
  const perStep = config ? config.batch * config.accumulate * config.model.context : 1;
  const gaps = metrics.slice(1).map((record, i) => record.time - metrics[i].time);
  const usual = gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
  const points = metrics.flatMap((record, i) => {
    const gap = i === 0 ? NaN : record.time - metrics[i - 1].time;
    return gap > 0 && gap < 20 * usual ? [{ step: record.step, value: (1000 * perStep) / gap, series: name }] : [];
  });
  return inParts(points, most);
}

/** A mixture's use at a step that was told of. */
export interface LayerUse {
  readonly step: number;
  readonly layer: string;
  readonly counts: readonly number[];
  readonly entropy: number;
  readonly cvSquared: number;
}

/** Each mixture over the run, in order. */
export const layerUses = (metrics: readonly StepRecord[]): LayerUse[] =>
  metrics.flatMap(({ step, routing }) =>
    Object.entries(routing ?? {}).map(([path, { counts, entropy }], i) => ({
      step,
      layer: /(\d+)$/.test(path) ? `layer ${/(\d+)$/.exec(path)![1]}` : path || `layer ${i}`,
      counts,
      entropy,
      cvSquared: cvSquaredOf(counts),
    })),
  );

function cvSquaredOf(counts: readonly number[]): number {
  const mean = meanOf(counts);
  return mean === 0 ? 0 : meanOf(counts.map((n) => (n / mean - 1) ** 2));
}

/** CV² on average if each token chose among all experts evenly by lot: balance cannot show below it. */
export function chanceOf({ counts }: LayerUse, k: number): number {
  const tokens = counts.reduce((sum, n) => sum + n, 0) / k;
  return samplingFloor({ tokens, experts: counts.length, k }) ** 2;
}
