/** One piece of work, done by several contestants in turn, checked before it is timed. */
import type { TaskName, TaskSizes } from "../tasks.ts";
import type { Contestant } from "./contestant.ts";
import { median } from "./statistics.ts";

export interface Trial<N extends TaskName> {
  readonly task: N;
  readonly sizes: TaskSizes[N];
  /** The largest difference allowed between two contestants' numbers, as a share of the largest number. */
  readonly tolerance: number;
  /** How often the contestants take turns; 5 by default. */
  readonly rounds?: number;
  /** How long each repeats the work at its turn, at least once; 150 ms by default. */
  readonly ms?: number;
  /** How long each warms up; 400 ms by default. */
  readonly warmUp?: number;
}

export interface Measurement {
  readonly contestant: string;
  /** The median; NaN if it did not take part. */
  readonly ms: number;
  readonly times: readonly number[];
  /** The largest difference from the first contestant's numbers, as a share of the largest of those. */
  readonly difference: number;
  /** Why there is no time. */
  readonly absent?: string;
}

/**
 * Prepares the work with every contestant, compares their numbers with the first one's, then times them turn by turn, back and forth, so that
 * a slow phase of the machine meets all. Data is fresh for each call. One whose numbers differ is not timed.
 */
export async function measure<N extends TaskName>(
  contestants: readonly Contestant[],
  { task, sizes, tolerance, rounds = 5, ms = 150, warmUp = 400 }: Trial<N>,
): Promise<Measurement[]> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const entries: { contestant: Contestant; times: number[]; difference: number; absent?: string }[] = [];
  let expected: Sample | undefined;
  for (const contestant of contestants) {
    const entry: (typeof entries)[number] = { contestant, times: [], difference: 0 };
    entries.push(entry);
    try {
      const refusal = await contestant.ask({ ask: "prepare", task, sizes, seed, warmUp });
      if (refusal !== null) {
        entry.absent = refusal;
        continue;
      }
      const sample = decode(await contestant.ask({ ask: "sample" }));
      expected ??= sample;
      entry.difference = difference(expected, sample);
      if (!(entry.difference <= tolerance)) entry.absent = `its numbers differ by ${entry.difference.toExponential(1)}`;
    } catch (error) {
      entry.absent = reasonOf(error as Error);
    }
  }
  const taking = entries.filter((entry) => entry.absent === undefined);
  for (let round = 0; round < rounds; round++)
    for (const entry of round % 2 === 0 ? taking : taking.toReversed())
      if (entry.absent === undefined && sum(entry.times) < mostTime)
        await entry.contestant.ask({ ask: "time", ms, atMost: 50 }).then(
          (times) => entry.times.push(...times),
          (error: Error) => (entry.absent = reasonOf(error)),
        );
  return entries.map(({ contestant: { name }, times, ...rest }) => ({
    contestant: name,
    ms: median(times),
    times,
    ...rest,
  }));
}

const reasonOf = ({ message }: Error): string => message.slice(0, 160).replaceAll(/\s+/g, " ");

/** A contestant that has spent so many milliseconds sits out the remaining rounds: no suite waits for the slowest. */
const mostTime = 3000;

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Forgets the work, so that its memory is free for the next. */
export async function drop(contestants: readonly Contestant[]): Promise<void> {
  for (const contestant of contestants) await contestant.ask({ ask: "drop" }).catch(() => null);
}

type Sample = { readonly [name: string]: Float32Array };

const decode = (sample: { readonly [name: string]: string }): Sample =>
  Object.fromEntries(
    Object.entries(sample).map(([name, text]) => {
      const bytes = Uint8Array.from(Buffer.from(text, "base64"));
      return [name, new Float32Array(bytes.buffer)];
    }),
  );

function difference(expected: Sample, got: Sample): number {
  let worst = 0;
  for (const [name, want] of Object.entries(expected)) {
    const have = got[name];
    if (have?.length !== want.length) return NaN;
    const largest = want.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-30);
    for (let i = 0; i < want.length; i++) {
      const off = Math.abs(want[i] - have[i]) / largest;
      if (Number.isNaN(off)) return NaN;
      worst = Math.max(worst, off);
    }
  }
  return worst;
}
