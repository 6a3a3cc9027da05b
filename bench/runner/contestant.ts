/** The runner's side of a contestant's process. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { ContestantKind } from "./contestants.ts";
import { mark, type Replies, type Request } from "./protocol.ts";

export interface Contestant {
  readonly name: string;
  readonly facts: { readonly [fact: string]: unknown };
  ask<R extends Request>(request: R): Promise<Replies[R["ask"]]>;
  /** Ends the process. */
  end(): void;
}

/** Longer than any one request may take. */
const patience = 120_000;

/** The line of a process's complaint that names the error. Results are kept and shared, so it names no folder of this machine. */
function reasonIn(complaint: string): string {
  const lines = complaint.split("\n").filter((line) => line.trim() !== "");
  const line = lines.find((text) => /^\w*Error\b/.test(text)) ?? lines.at(-1) ?? "it said nothing";
  return line.replaceAll(/(file:\/\/)?(\/[^\s'":]+)+\/(?=[^\s'":/]+)/g, "");
}

/** Starts a process and the peer in it. @param cwd where its modules are found; here by default. */
export async function startContestant(
  name: string,
  { command, args, options }: ContestantKind,
  cwd?: string,
): Promise<Contestant> {
  const child = spawn(command, args, { cwd, stdio: ["pipe", "pipe", "pipe"] });
  const lines = createInterface({ input: child.stdout });
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2000)));
  // Asking a process that is gone is answered by its end, below.
  child.stdin.on("error", () => {});
  const gone = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      reject(new Error(`${name} ended with ${signal ?? code}: ${reasonIn(complaint)}`)),
    );
  });
  gone.catch(() => {});

  const reply = (): Promise<string> =>
    new Promise((resolve) => {
      const onLine = (line: string): void => {
        if (!line.startsWith(mark)) return;
        lines.off("line", onLine);
        resolve(line.slice(mark.length));
      };
      lines.on("line", onLine);
    });

  async function ask<R extends Request>(request: R): Promise<Replies[R["ask"]]> {
    const next = reply();
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const timer = setTimeout(() => {
      complaint += ` no answer to ${request.ask} within ${patience / 1000} s`;
      child.kill("SIGKILL");
    }, patience);
    try {
      const { value, error } = JSON.parse(await Promise.race([next, gone])) as { value: unknown; error?: string };
      if (error !== undefined) throw new Error(`${name}: ${request.ask}: ${error}`);
      return value as Replies[R["ask"]];
    } finally {
      clearTimeout(timer);
    }
  }

  const facts = await ask({ ask: "start", ...options });
  return { name, facts, ask, end: () => void child.kill("SIGKILL") };
}
