import { ConfigError } from "@switchyard/tensor";
import type { ProcessName } from "../interop/processes.node.ts";
import * as files from "#files";

/** In a run's directory, while a process trains there: which. */
export const lockName = "run.lock";

/**
 * Takes a run's directory for this process. That of a process which was killed is taken over, with a line that says so.
 *
 * @returns gives it back.
 * @throws {ConfigError} if another run is under way there.
 */
export async function lockRun(dir: string): Promise<() => void> {
  const path = files.joinPath(dir, lockName);
  const mine = await files.thisProcess();
  const text = `${JSON.stringify(mine)}\n`;
  while (!(await files.createWhole(path, text))) {
    const seen = await files.readIfThere(path);
    if (seen === undefined) continue; // given back in this moment
    const holder = holderOf(seen);
    if (!holder || !(await files.hasEnded(holder))) throw inUse(dir, path, holder, mine);
    if (await putAway(path, seen))
      console.warn(`switchyard: ${dir} was left by process ${holder.pid}, which has ended`);
  }
  return files.removeWithProcess(path, text);
}

/** Removes a lock, if it still is the one that was seen. */
async function putAway(path: string, seen: string): Promise<boolean> {
  const aside = await files.moveAside(path);
  if (aside === undefined) return false;
  // Another process may have taken over between the look and the move: what was moved is its lock, then.
  const moved = await files.readIfThere(aside);
  if (moved !== undefined && moved !== seen) await files.createWhole(path, moved);
  await files.remove(aside);
  return moved === seen;
}

function holderOf(text: string): ProcessName | undefined {
  try {
    const { pid, host, space = null, started = null } = JSON.parse(text) as Partial<ProcessName>;
    return typeof pid === "number" && typeof host === "string" ? { pid, host, space, started } : undefined;
  } catch {
    return undefined;
  }
}

function inUse(dir: string, path: string, holder: ProcessName | undefined, mine: ProcessName): ConfigError {
  if (!holder) return new ConfigError(`train: ${path} names no process; remove it if no run is under way in ${dir}`);
  const { pid, host, space, started } = holder;
  const isNear = host === mine.host && space === mine.space;
  if (isNear && pid === mine.pid)
    return new ConfigError(
      `train: ${dir} is in use by another run of this process, ${pid}; finish that run or leave its loop first`,
    );
  const remedy = isNear && started !== null ? "end it first" : `end it first, or remove ${path} if it has ended`;
  return new ConfigError(`train: ${dir} is in use by process ${pid} on ${host}; ${remedy}`);
}
