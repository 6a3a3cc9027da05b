import { ConfigError } from "@switchyard/tensor";
import * as files from "#files";
import { readRun, type RunConfig } from "../training/runDirectory.ts";
import { metricsLog, samplesLog, type SampleRecord, type StepRecord } from "../training/runLog.ts";
import type { CloseLook } from "./closeLook.ts";

/** What a report tells of a run. */
export interface RunData {
  /** Short, and unlike those of the other runs of the report. */
  readonly name: string;
  /** Of a run of the command line. */
  readonly config?: RunConfig;
  readonly metrics: readonly StepRecord[];
  readonly samples: readonly SampleRecord[];
  /** What only the model itself can tell. */
  readonly look?: CloseLook;
}

/** Reads what runs noted. @throws {ConfigError} if a directory is none of a run. */
export async function readRuns(dirs: readonly string[]): Promise<RunData[]> {
  const names = dirs.map(files.nameOf);
  return Promise.all(
    dirs.map(async (dir, i): Promise<RunData> => {
      const metrics = await metricsLog.read(dir);
      if (metrics.length === 0) throw new ConfigError(`${dir} has no metrics.jsonl with a step in it; is it a run?`);
      const config = (await files.exists(files.joinPath(dir, "run.json"))) ? await readRun(dir) : undefined;
      const name = names.indexOf(names[i]) === names.lastIndexOf(names[i]) ? names[i] : dir;
      return { name, metrics, samples: await samplesLog.read(dir), ...(config && { config }) };
    }),
  );
}
