import { Command, CommanderError, InvalidArgumentError } from "commander";
import { SwitchyardError, type DeviceName } from "@switchyard/tensor";
import type { Rule } from "@switchyard/tensor/graph";

/** Options that every command has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly seed: number;
  readonly device: DeviceName;
}

/** A number from an option. @throws {InvalidArgumentError} unless it is an integer of at least `least`. */
export const integer =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be an integer of at least ${least}.`);
  };

/** A number from an option. @throws {InvalidArgumentError} unless it is a number between bounds. */
export const number =
  (least: number, most = Infinity) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isFinite(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(
      most === Infinity ? `It must be a number of at least ${least}.` : `It must be a number from ${least} to ${most}.`,
    );
  };

/** A number from an option. @throws {InvalidArgumentError} unless it keeps a rule. */
export const numberThat =
  ({ holds, must }: Rule) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() !== "" && holds(value)) return value;
    throw new InvalidArgumentError(`It must be ${must}.`);
  };

const deviceNames = ["cpu", "wasm", "webgpu"] satisfies DeviceName[];

function device(text: string): DeviceName {
  const name = deviceNames.find((known) => known === text);
  if (name) return name;
  throw new InvalidArgumentError(`Devices are ${deviceNames.join(", ")}.`);
}

/** A command with the options that all have. */
export const command = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .option("--json", "write one JSON object a line")
    .option("--seed <n>", "decides all random numbers", integer(0), 0)
    .option("--device <name>", `where to compute: ${deviceNames.join(", ")}`, device, "wasm")
    .allowExcessArguments(false);

/** A wrong use of the command line, found after it was parsed. */
export class UsageError extends Error {}

/** What a failure is to the shell: a line, and 2 for bad usage, 1 for the rest. */
export function failureOf(error: unknown): { readonly line: string; readonly code: number } {
  const message = error instanceof Error ? error.message : String(error);
  const line = message
    .replace(/^error: /, "")
    .replace(/\s*\n\s*/g, " ")
    .trim();
  if (error instanceof CommanderError) return { line, code: error.exitCode === 0 ? 0 : 2 };
  if (error instanceof UsageError) return { line, code: 2 };
  if (error instanceof SwitchyardError) return { line, code: 1 };
  return { line: line.startsWith("internal: ") ? line : `internal: ${line}`, code: 1 };
}
