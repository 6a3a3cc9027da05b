import { ConfigError, FormatError } from "@switchyard/tensor";
import * as files from "#files";
import type { Precision } from "./lossScale.ts";

/** The sizes of a language model of the command line: what a run must remember to build it again. */
export interface ModelSizes {
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly hidden: number;
  readonly context: number;
  readonly experts: number;
  readonly k: number;
  /** Of experts: `relu` with biases, or `swiglu` without, as in Mixtral. */
  readonly activation: "relu" | "swiglu";
}

/** How the learning rate goes on after it has risen: as it is, or down to nothing by a straight line or half a cosine. */
export const schedules = ["constant", "linear", "cosine"] as const;

/** How a run of the command line trains. */
export interface TrainingConfig {
  readonly steps: number;
  readonly seed: number;
  /** Sequences in a batch. */
  readonly batch: number;
  /** Batches in a step. */
  readonly accumulate: number;
  /** The highest. */
  readonly learningRate: number;
  readonly schedule: (typeof schedules)[number];
  /** Steps in which the learning rate rises. */
  readonly warmup: number;
  readonly weightDecay: number;
  /** The greatest global norm of a gradient. */
  readonly clip: number;
  /** Of the parameters' average; null for none. */
  readonly ema: number | null;
  /** Of loss and gradient. */
  readonly precision: Precision;
  /** Steps from one evaluation, and one checkpoint, to the next. */
  readonly evalEvery: number;
  /** Evaluations without improvement that end the run; null for no such end. */
  readonly patience: number | null;
  /** The newest checkpoints that are kept. */
  readonly keep: number;
}

/** What a run is, written when it begins: `run.json`. Beside it lie checkpoints, `metrics.jsonl` and `samples.jsonl`. */
export interface RunConfig extends TrainingConfig {
  readonly format: "switchyard run";
  readonly version: 1;
  /** What wrote it. */
  readonly versions: { readonly switchyard: string; readonly node: string };
  readonly model: ModelSizes;
  /** The characters of the tokenizer, in the order of their ids. */
  readonly vocabulary: string;
  /** The text: a file, or null for the book that comes with the package; and what it was. */
  readonly data: { readonly file: string | null; readonly sha256: string };
}

const configName = "run.json";

/** Where runs lie, unless a path is given. */
export const runsRoot = "runs";

/** Numbers of the runs in a directory, ascending. */
const numbersIn = async (root: string): Promise<number[]> =>
  (await files.listDirectory(root))
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .toSorted((a, b) => a - b);

/** Makes the directory of a new run, `root/<n>`, one above the highest, and notes in it what the run is. */
export async function createRun(root: string, config: RunConfig): Promise<string> {
  for (let n = ((await numbersIn(root)).at(-1) ?? 0) + 1; ; n++) {
    const dir = files.joinPath(root, `${n}`);
    const isNew = await files.makeDirectory(dir).catch((error: Error) => {
      throw new ConfigError(`cannot make ${dir}: ${error.message}`);
    });
    // Else another process has just taken the number.
    if (!isNew) continue;
    await files.writeAtomically(
      files.joinPath(dir, configName),
      new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`),
    );
    return dir;
  }
}

/** The run with the highest number. @throws {ConfigError} if there is none. */
export async function newestRun(root: string): Promise<string> {
  for (const n of (await numbersIn(root)).toReversed()) {
    const dir = files.joinPath(root, `${n}`);
    if (await files.exists(files.joinPath(dir, configName))) return dir;
  }
  throw new ConfigError(`no run in ${root}/; make one with npx switchyard train, or name one with --run`);
}

/** What a run is. @throws {ConfigError | FormatError} if the directory is none of a run. */
export async function readRun(dir: string): Promise<RunConfig> {
  const path = files.joinPath(dir, configName);
  if (!(await files.exists(path))) {
    const why = (await files.exists(dir)) ? `it has no ${configName}` : "there is no such directory";
    throw new ConfigError(`${dir} is not the directory of a run: ${why}`);
  }
  const config = parsed(path, new TextDecoder().decode(await files.readBytes(path)));
  // Runs from before there was a choice have no precision noted.
  if (config?.format === "switchyard run" && config.version === 1)
    return { ...config, precision: config.precision ?? "f32" };
  throw new FormatError(`${path} describes no run that this version can read`);
}

function parsed(path: string, text: string): RunConfig | null {
  try {
    return JSON.parse(text) as RunConfig | null;
  } catch (error) {
    throw new FormatError(`${path} is not JSON: ${(error as Error).message}`);
  }
}
