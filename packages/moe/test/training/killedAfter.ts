import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Run } from "@switchyard/moe";
import { lockName } from "../../src/training/runLock.ts";

/** Takes a run past a step and drops it there, as a kill would: nothing more is saved, and no living process holds the directory. */
export async function killedAfter<P, A>(step: number, run: Run<P, A>, dir: string): Promise<void> {
  const reports = run[Symbol.asyncIterator]();
  for (let next = await reports.next(); !next.done && next.value.step < step; next = await reports.next());
  await rm(join(dir, lockName));
}
