import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("children/inFlight.ts", import.meta.url));
/** The child runs sources as they are. */
const canStrip = Boolean(process.features.typescript);

interface Ended {
  code: number | null;
  signal: string | null;
  output: string;
  /** Milliseconds from the last line of output, or from the signal, to the end. */
  lingered: number;
}

function child(milliseconds: number, how: string, killOn?: string): Promise<Ended> {
  const process_ = spawn(process.execPath, [script, String(milliseconds), how], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let last = performance.now();
  process_.stdout.on("data", (data: Buffer) => {
    output += data;
    last = performance.now();
    if (killOn && output.includes(killOn)) process_.kill("SIGTERM");
  });
  process_.stderr.on("data", (data: Buffer) => {
    if (!String(data).includes("ExperimentalWarning")) output += data;
  });
  return new Promise((resolve) => {
    process_.on("exit", (code, signal) => resolve({ code, signal, output, lingered: performance.now() - last }));
  });
}

test.skipIf(!canStrip)("a process ends by itself when its work on wasm is done", async () => {
  const { code, output, lingered } = await child(50, "await");
  expect(output).toBe("started\ndone\n");
  expect(code).toBe(0);
  expect(lingered).toBeLessThan(2000);
});

test.skipIf(!canStrip)("a process waits for work under way that nobody awaits", async () => {
  const { code, output } = await child(50, "forget");
  expect(output).toBe("started\ndone\n");
  expect(code).toBe(0);
});

test.skipIf(!canStrip)("a process that exits or is killed while work is under way does not hang", async () => {
  const exited = await child(20_000, "exit");
  expect(exited).toMatchObject({ code: 3, output: "started\n" });
  expect(exited.lingered).toBeLessThan(2000);
  const killed = await child(20_000, "forget", "started");
  expect(killed).toMatchObject({ signal: "SIGTERM", output: "started\n" });
  expect(killed.lingered).toBeLessThan(2000);
});
