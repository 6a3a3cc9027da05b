import { Command } from "commander";
import { version } from "@switchyard/tensor";
import { devicesCommand } from "./devices.ts";
import { doctorCommand } from "./doctor.ts";
import { evalCommand } from "./eval.ts";
import { explainCommand } from "./explain.ts";
import { exportCommand } from "./export.ts";
import { importCommand } from "./import.ts";
import { planCommand } from "./plan.ts";
import { reportCommand } from "./report.ts";
import { sampleCommand } from "./sample.ts";
import { trainCommand } from "./train.ts";
import { failureOf } from "./usage.ts";

/**
 * Runs the command line.
 *
 * @param args without the program's own name.
 * @returns the exit code: 0, or 1 after a line that says why, or 2 for wrong usage.
 */
export async function run(args: readonly string[]): Promise<number> {
  const program = new Command("switchyard")
    .description("Train sparse mixtures of experts, and look into them.")
    .version(version)
    .allowExcessArguments(false);
  for (const command of [
    trainCommand(),
    sampleCommand(),
    evalCommand(),
    explainCommand(),
    doctorCommand(),
    planCommand(),
    reportCommand(),
    importCommand(),
    exportCommand(),
    devicesCommand(),
  ])
    program.addCommand(command);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ outputError: () => {} });
    command.showSuggestionAfterError(true);
  }
  if (args.length === 0) args = ["--help"];
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    const { line, code } = failureOf(error);
    if (code !== 0) process.stderr.write(`switchyard: ${line}\n`);
    return code;
  }
}
