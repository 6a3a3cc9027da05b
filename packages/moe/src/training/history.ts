import { ConfigError, FormatError } from "@switchyard/tensor";
import * as files from "#files";
import { damageOf, isCheckpoint } from "./checkpointFiles.ts";

const stepName = /^step-(\d+)$/;
/** A checkpoint by its step, or a draft of one or of a lock. */
const partOfRun = /^(step-\d+|\.(step-\d+|run\.lock)\..+)$/;

/** Where the checkpoint after a number of steps lies in a run's directory. */
export const checkpointOfStep = (dir: string, steps: number): string => files.joinPath(dir, `step-${steps}`);

/** The steps after which a directory holds a checkpoint, ascending. */
export async function stepsIn(dir: string): Promise<number[]> {
  const names = await files.listDirectory(dir);
  const steps = names.flatMap((name) => Number(stepName.exec(name)?.[1] ?? NaN)).filter((step) => !Number.isNaN(step));
  return steps.toSorted((a, b) => a - b);
}

/** Removes a run's checkpoints but for some, and drafts of others that a process left when it was killed. */
export async function keepOnly(dir: string, steps: readonly number[]): Promise<void> {
  const kept = new Set(steps.map((step) => checkpointOfStep("", step)));
  for (const name of await files.listDirectory(dir))
    if (partOfRun.test(name) && !kept.has(name)) await files.remove(files.joinPath(dir, name));
}

/**
 * Reads a checkpoint, or of a directory that holds checkpoints by step, the newest.
 *
 * @throws {FormatError} if it is damaged; one that is sound and older is named, but not taken unasked: its user would not know.
 */
export async function readNewest<T>(dir: string, read: (checkpoint: string) => Promise<T>): Promise<T> {
  const at = await files.standing(dir);
  if (await isCheckpoint(at)) return read(at);
  const steps = await stepsIn(dir);
  const newest = steps.pop();
  if (newest === undefined) throw new ConfigError(`${dir} holds no checkpoint`);
  const checkpoint = checkpointOfStep(dir, newest);
  try {
    return await read(checkpoint);
  } catch (error) {
    const damage = await damageOf(checkpoint);
    if (damage === undefined) throw error;
    throw new FormatError(`${damage}; ${await adviceAfterDamage(dir, checkpoint, steps)}`);
  }
}

async function adviceAfterDamage(dir: string, damaged: string, older: readonly number[]): Promise<string> {
  for (const step of older.toReversed())
    if ((await damageOf(checkpointOfStep(dir, step))) === undefined)
      return `${checkpointOfStep(dir, step)} is older and sound: move ${damaged} away to go on from there`;
  return `there is no sound one beside it`;
}
