import type { Command } from "commander";
import { init } from "@switchyard/tensor";
import { exists, joinPath, writeAtomically } from "../interop/files.node.ts";
import type { CloseLook } from "../report/closeLook.ts";
import { report } from "../report/report.ts";
import { newestRun, runsRoot } from "../training/runDirectory.ts";
import { stepsIn } from "../training/history.ts";
import { lookAt } from "./lookAt.ts";
import { command, type CommonOptions } from "./usage.ts";

interface ReportCommandOptions extends CommonOptions {
  readonly out?: string;
}

export const reportCommand = (): Command =>
  command("report", "write a page about a run, or several side by side, that opens without a network")
    .argument("[runs...]", `the runs (default: the newest in ${runsRoot}/)`)
    .option("--out <file>", "where to (default: report.html in the first run's directory)")
    .action(writeReport);

async function writeReport(given: readonly string[], options: ReportCommandOptions): Promise<void> {
  const { json, device, seed } = options;
  await init(device);
  const dirs = given.length > 0 ? given : [await newestRun(runsRoot)];
  const looks = new Map<string, CloseLook>();
  for (const dir of dirs) if (await canBeLookedAt(dir)) looks.set(dir, await lookAt(dir, device, seed));
  const out = options.out ?? joinPath(dirs[0], "report.html");
  await writeAtomically(out, new TextEncoder().encode(await report(dirs, { looks })));
  console.log(json ? JSON.stringify({ out, runs: dirs }) : `${out} tells of ${dirs.join(", ")}; open it in a browser`);
}

/** A run of the command line that has got as far as a checkpoint. */
const canBeLookedAt = async (dir: string): Promise<boolean> =>
  (await exists(joinPath(dir, "run.json"))) && (await stepsIn(dir)).length > 0;
