import type { Command, Option } from "commander";
import { ConfigError } from "@switchyard/tensor";
import { readBytes } from "../interop/files.node.ts";

/** Options that say where others come from, or how to be told of the run: no part of what it is. */
const notInFiles = new Set(["config", "resume", "json", "profile"]);

/**
 * Gives a command the options of the file that `--config` names. What was written on the command line counts more.
 *
 * @throws {ConfigError} if the file is no JSON object, or has an option that is unknown or wrong.
 */
export async function readConfig(used: Command): Promise<void> {
  const { config: path } = used.opts<{ config?: string }>();
  if (path === undefined) return;
  const known = new Map(used.options.map((option) => [option.attributeName(), option]));
  for (const name of notInFiles) known.delete(name);
  for (const [name, value] of Object.entries(await readObject(path))) {
    const option = known.get(name);
    if (!option)
      throw new ConfigError(`${path}: unknown option "${name}"; options are ${[...known.keys()].join(", ")}`);
    if (used.getOptionValueSource(name) === "cli") continue;
    try {
      used.setOptionValueWithSource(name, parsed(option, value), "config");
    } catch (error) {
      throw new ConfigError(`${path}: ${name} cannot be ${JSON.stringify(value)}: ${(error as Error).message}`);
    }
  }
}

/** What an option is, given a value of JSON: true or false for a flag, else what the command line would make of it. */
function parsed(option: Option, value: unknown): unknown {
  const types = option.isBoolean() ? ["boolean"] : ["string", "number"];
  if (!types.includes(typeof value)) throw new ConfigError(`It must be a ${types.join(" or a ")}.`);
  if (option.isBoolean()) return value;
  return option.parseArg ? option.parseArg(String(value), undefined) : String(value);
}

async function readObject(path: string): Promise<object> {
  const text = new TextDecoder().decode(await readBytes(path));
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`);
  }
  throw new ConfigError(`${path} must hold an object of options, such as { "steps": 100 }`);
}
