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

/** One piece of work, as `measureTogether` measures several. */
export const measure = async <N extends TaskName>(
  contestants: readonly Contestant[],
  trial: Trial<N>,
): Promise<Measurement[]> => (await measureTogether(contestants, [trial]))[0];

/**
 * Prepares every trial with every contestant, compares their numbers with the first one's, then times them turn by turn, back and forth, so
 * that a slow phase of the machine meets all contestants and all trials. Data is fresh for each call. One whose numbers differ is not timed.
 *
 * @returns for each trial, a measurement for each contestant. `rounds` and `ms` are those of the first trial.
 */
export async function measureTogether<N extends TaskName>(
  contestants: readonly Contestant[],
  trials: readonly Trial<N>[],
): Promise<Measurement[][]> {
  const found: Entry[][] = [];
  for (const [number, trial] of trials.entries()) found.push(await prepare(contestants, trial, number));
  const turns = contestants.flatMap((_, c) => found.map((entries, trial) => ({ trial, entry: entries[c] })));
  const { rounds = 5, ms = 150 } = trials[0];
  const began = performance.now();
  for (let round = 0; round < rounds && (round === 0 || performance.now() - began < mostTogether); round++)
    for (const { trial, entry } of round % 2 === 0 ? turns : turns.toReversed())
      if (entry.absent === undefined && sum(entry.times) < mostTime)
        await entry.contestant.ask({ ask: "time", trial, ms, atMost: 50 }).then(
          (times) => entry.times.push(...times),
          (error: Error) => (entry.absent = reasonOf(error)),
        );
  return found.map((entries) =>
    entries.map(({ contestant: { name }, times, ...rest }) => ({
      contestant: name,
      ms: median(times),
      times,
      ...rest,
    })),
  );
}

interface Entry {
  readonly contestant: Contestant;
  readonly times: number[];
  difference: number;
  absent?: string;
}

/** Readies one trial with every contestant, and compares their numbers. */
async function prepare<N extends TaskName>(
  contestants: readonly Contestant[],
  { task, sizes, tolerance, warmUp = 400 }: Trial<N>,
  trial: number,
): Promise<Entry[]> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const entries: Entry[] = [];
  let expected: Sample | undefined;
  for (const contestant of contestants) {
    const entry: Entry = { contestant, times: [], difference: 0 };
    entries.push(entry);
    try {
      const refusal = await contestant.ask({ ask: "prepare", trial, task, sizes, seed, warmUp });
      if (refusal !== null) {
        entry.absent = refusal;
        continue;
      }
      const sample = decode(await contestant.ask({ ask: "sample", trial }));
      expected ??= sample;
      entry.difference = difference(expected, sample);
      if (!(entry.difference <= tolerance)) entry.absent = `its numbers differ by ${entry.difference.toExponential(1)}`;
    } catch (error) {
      entry.absent = reasonOf(error as Error);
    }
  }
  return entries;
}

const reasonOf = ({ message }: Error): string => message.slice(0, 160).replaceAll(/\s+/g, " ");

/** A contestant that has spent so many milliseconds sits out the remaining rounds: no suite waits for the slowest. */
const mostTime = 3000;

/** No round begins later than so many milliseconds after the first: a slow or busy machine gets fewer rounds, not a longer bench. */
const mostTogether = 40_000;

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
