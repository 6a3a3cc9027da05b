import { mkdir } from "node:fs/promises";
import { ConfigError } from "@switchyard/tensor";
import { exists, joinPath, listDirectory, writeAtomically } from "../interop/files.node.ts";
import { configName, type RunConfig } from "./runConfig.ts";

/** Where runs lie, unless a path is given. */
export const runsRoot = "runs";

/** Numbers of the runs in a directory, ascending. */
const numbersIn = async (root: string): Promise<number[]> =>
  (await listDirectory(root))
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .toSorted((a, b) => a - b);

/** Makes the directory of a new run, `root/<n>`, one above the highest, and notes in it what the run is. */
export async function createRun(root: string, config: RunConfig): Promise<string> {
  await mkdir(root, { recursive: true });
  for (let n = ((await numbersIn(root)).at(-1) ?? 0) + 1; ; n++) {
    const dir = joinPath(root, `${n}`);
    try {
      await mkdir(dir);
    } catch (error) {
      // Another process has just taken the number.
      if ((error as { code?: string }).code === "EEXIST") continue;
      throw new ConfigError(`cannot make ${dir}: ${(error as Error).message}`);
    }
    await writeAtomically(joinPath(dir, configName), new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`));
    return dir;
  }
}

/** The run with the highest number. @throws {ConfigError} if there is none. */
export async function newestRun(root: string): Promise<string> {
  for (const n of (await numbersIn(root)).toReversed()) {
    const dir = joinPath(root, `${n}`);
    if (await exists(joinPath(dir, configName))) return dir;
  }
  throw new ConfigError(`no run in ${root}/; make one with switchyard train, or name one with --run`);
}
