import { ConfigError } from "@switchyard/tensor";
import type { Run } from "../training/train.ts";
import type { CloseLook } from "./closeLook.ts";

export interface ReportOptions {
  /** What the models themselves can tell, by the directory of their run. */
  readonly looks?: ReadonlyMap<string, CloseLook>;
}

/** The directory that `train` was given as `checkpoint.dir`; or what it returned, which is then finished. */
type Reported = string | Pick<Run<unknown, unknown>, "dir" | "finish">;

/**
 * A page about runs: one HTML file that needs no network.
 *
 * @param runs several are laid over each other.
 * @throws {ConfigError} if a directory is none of a run, or a run is kept in none.
 */
export async function report(runs: Reported | readonly Reported[], { looks }: ReportOptions = {}): Promise<string> {
  const dirs = await Promise.all([runs].flat().map(dirOf));
  // Drawing is a library of its own, which nobody needs before.
  const [{ readRuns }, { pageOf }] = await Promise.all([import("./runData.ts"), import("./page.ts")]);
  const read = await readRuns(dirs);
  return pageOf(read.map((run, i) => ({ ...run, look: looks?.get(dirs[i]) })));
}

async function dirOf(run: Reported): Promise<string> {
  if (typeof run === "string") return run;
  if (typeof run?.finish !== "function" || run.dir === undefined)
    throw new ConfigError(
      "report: needs the directory of a run, or a run that has one; give train a checkpoint: { dir, every }",
    );
  await run.finish();
  return run.dir;
}
