import { readFileSync, rmSync } from "node:fs";
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";

/** A process, told from all others. */
export interface ProcessName {
  readonly pid: number;
  readonly host: string;
  /** Which of the host's counts of processes the number is of: a container may have one of its own. Null where the system does not say. */
  readonly space: string | null;
  /** When it started, which tells it from another that has got its number since; null where the system does not say. */
  readonly started: string | null;
}

/** This process. */
export async function thisProcess(): Promise<ProcessName> {
  const [space, found] = await Promise.all([spaceOfThis(), lookAt(process.pid)]);
  return { pid: process.pid, host: hostname(), space, started: found?.started ?? null };
}

const spaceOfThis = (): Promise<string | null> => readlink("/proc/self/ns/pid").catch(() => null);

/** Whether a process has ended for certain: of one on another host, or in another container, that is never known. */
export async function hasEnded({ pid, host, space, started }: ProcessName): Promise<boolean> {
  if (host !== hostname() || space !== (await spaceOfThis())) return false;
  try {
    process.kill(pid, 0); // asks whether it is there
  } catch (error) {
    // Else it is there, and another user's.
    if ((error as { code?: string }).code === "ESRCH") return true;
  }
  const found = await lookAt(pid);
  return found !== undefined && (found.isDead || (started !== null && found.started !== started));
}

/** What Linux tells of a process; undefined elsewhere, or where it hides others. */
async function lookAt(pid: number): Promise<{ started: string; isDead: boolean } | undefined> {
  try {
    const [boot, stat] = await Promise.all(
      ["/proc/sys/kernel/random/boot_id", `/proc/${pid}/stat`].map((path) => readFile(path, "utf8")),
    );
    // Fields are counted behind the name, which may hold blanks and brackets: the 3rd is the state, the 22nd the time since the boot.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { started: `${boot.trim()} ${fields[19]}`, isDead: fields[0] === "Z" || fields[0] === "X" };
  } catch {
    return undefined;
  }
}

/** What is left to do when this process ends: for one listener, as Node takes many for a leak. */
const atExit = new Set<() => void>();
const runAtExit = (): void => atExit.forEach((act) => act());

/**
 * Sees to it that a file goes with this process, however that ends but by a kill.
 *
 * @returns removes the file now, unless it says something else by then.
 */
export function removeWithProcess(path: string, text: string): () => void {
  const drop = (): void => {
    try {
      if (readFileSync(path, "utf8") === text) rmSync(path);
    } catch {
      // It is not there any more, or may not be removed: the next process finds that this one has ended.
    }
  };
  if (atExit.size === 0) process.on("exit", runAtExit);
  atExit.add(drop);
  return () => {
    atExit.delete(drop);
    if (atExit.size === 0) process.off("exit", runAtExit);
    drop();
  };
}
