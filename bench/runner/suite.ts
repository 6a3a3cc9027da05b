import { absence, contestantKinds, type ContestantName } from "./contestants.ts";
import { startContestant, type Contestant } from "./contestant.ts";
import type { Report } from "./report.ts";

/** Something that can be asked for by name. */
export interface Suite {
  readonly what: string;
  run(): Promise<Report>;
}

export interface Field {
  readonly contestants: readonly Contestant[];
  /** Who is missing, and why. */
  readonly notes: readonly string[];
}

/** Runs `body` with contestants started, each in its own process, and ends them afterwards. The first is the measure of the others' numbers. */
export async function withContestants<T>(
  names: readonly ContestantName[],
  body: (field: Field) => Promise<T>,
): Promise<T> {
  const contestants: Contestant[] = [];
  const notes: string[] = [];
  try {
    for (const name of names) {
      const reason = absence(name);
      if (reason !== undefined) {
        notes.push(`${name} was absent: ${reason}.`);
        continue;
      }
      try {
        contestants.push(await startContestant(name, contestantKinds[name]));
      } catch (error) {
        notes.push(`${name} did not start: ${(error as Error).message.slice(0, 300).replaceAll(/\s+/g, " ")}`);
      }
    }
    return await body({ contestants, notes });
  } finally {
    for (const contestant of contestants) contestant.end();
  }
}
