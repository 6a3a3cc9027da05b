import { mkdir } from "node:fs/promises";
import { ConfigError, FormatError } from "@switchyard/tensor";
import { exists, joinPath, listDirectory, readBytes, writeAtomically } from "../interop/files.node.ts";

/** The sizes of a language model of the command line: what a run must remember to build it again. */
export interface ModelSizes {
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly hidden: number;
  readonly context: number;
  readonly experts: number;
  readonly k: number;
}

/** What a run is, written when it begins: `run.json`. Checkpoints lie beside it. */
export interface RunConfig {
  readonly format: "switchyard run";
  readonly version: 1;
  readonly model: ModelSizes;
  /** The characters of the tokenizer, in the order of their ids. */
  readonly vocabulary: string;
  /** The text: a file, or null for the book that comes with the package; and what it was. */
  readonly data: { readonly file: string | null; readonly sha256: string };
  readonly batch: number;
  readonly steps: number;
  readonly seed: number;
  readonly learningRate: number;
}

const configName = "run.json";

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

/** What a run is. @throws {ConfigError | FormatError} if the directory is none of a run. */
export async function readRun(dir: string): Promise<RunConfig> {
  const path = joinPath(dir, configName);
  if (!(await exists(path))) throw new ConfigError(`${dir} is not the directory of a run: it has no ${configName}`);
  try {
    const config = JSON.parse(new TextDecoder().decode(await readBytes(path))) as RunConfig;
    if (config.format === "switchyard run" && config.version === 1) return config;
  } catch {
    // No JSON: as little a run as JSON of another kind.
  }
  throw new FormatError(`${path} does not describe a run that this version can read`);
}
