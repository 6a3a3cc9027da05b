import type { CloseLook } from "./closeLook.ts";

export interface ReportOptions {
  /** What the models themselves can tell, by the directory of their run. */
  readonly looks?: ReadonlyMap<string, CloseLook>;
}

/**
 * A page about runs: one HTML file that needs no network.
 *
 * @param runs what `train` was given as `checkpoint.dir`; several are laid over each other.
 * @throws {ConfigError} if a directory is none of a run.
 */
export async function report(runs: string | readonly string[], { looks }: ReportOptions = {}): Promise<string> {
  const dirs = typeof runs === "string" ? [runs] : runs;
  // Drawing is a library of its own, which nobody needs before.
  const [{ readRuns }, { pageOf }] = await Promise.all([import("./runData.ts"), import("./page.ts")]);
  const read = await readRuns(dirs);
  return pageOf(read.map((run, i) => ({ ...run, look: looks?.get(dirs[i]) })));
}
