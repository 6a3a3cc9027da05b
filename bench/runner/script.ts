import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs a script of `bench/` in a Node of its own, and reads the JSON it prints. */
export async function runScript<T>(
  path: string,
  args: readonly string[] = [],
  flags: readonly string[] = [],
): Promise<T> {
  const file = fileURLToPath(new URL(`../${path}`, import.meta.url));
  const { stdout } = await run(process.execPath, ["--conditions=source", "--no-warnings", ...flags, file, ...args], {
    timeout: 150_000,
  });
  return JSON.parse(stdout) as T;
}
