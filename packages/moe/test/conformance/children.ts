/** Runs the conformance program in processes of their own: on this Node or another, from the sources or from the build. */
import { execFile, type ExecFileException } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, resolve } from "node:path";
import type { InitOptions } from "@switchyard/tensor";
import type { Report } from "./program.ts";

export const root = resolve(import.meta.dirname, "../../../..");

/** Where what is made or fetched for these runs is kept. */
export const cache = join(root, "node_modules/.cache/switchyard");

const program = join(import.meta.dirname, "program.ts");

interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Runs a command to its end, well or badly. */
export function ended(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const options = { cwd: root, env: { ...process.env, ...env }, maxBuffer: 2 ** 26 };
  return new Promise((settle) => {
    execFile(command, args, options, (error: ExecFileException | null, output, errors) =>
      settle({ code: error ? Number(error.code) || 1 : 0, output, errors }),
    );
  });
}

/** What to compute, and whether to compare it with the reference. */
interface Task {
  readonly options: readonly InitOptions[];
  readonly reference?: boolean;
}

const argumentsOf = ({ options, reference }: Task): string[] => [
  JSON.stringify(options),
  ...(reference ? ["reference"] : []),
];

/**
 * The program's reports, one for each of the options.
 *
 * @param flags of Node and V8.
 * @throws if the process fails.
 */
export async function reports(node: string, flags: readonly string[], task: Task): Promise<Report[]> {
  return parsed(await ended(node, ["--conditions=source", ...flags, program, ...argumentsOf(task)]));
}

/** The same on the built packages, for a Node that runs no TypeScript. */
export async function reportsOfBuild(node: string, task: Task): Promise<Report[]> {
  const built = await ended("npm", ["run", "build"]);
  if (built.code !== 0) throw new Error(`the build failed: ${built.output}${built.errors}`);
  mkdirSync(cache, { recursive: true });
  const plain = join(cache, "program.mjs");
  writeFileSync(plain, stripTypeScriptTypes(readFileSync(program, "utf8")));
  return parsed(await ended(node, [plain, ...argumentsOf(task)]));
}

function parsed({ code, output, errors }: Ended): Report[] {
  if (code !== 0) throw new Error(errors.trim() || `the process ended with code ${code}`);
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Report);
}
