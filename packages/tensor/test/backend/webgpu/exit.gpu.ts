import { execFile, type ExecFileException } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("children/inFlight.ts", import.meta.url));

interface Ended {
  readonly code: number;
  readonly output: string;
}

/** A process that does not end by itself is killed, and has no code. */
const child = (how: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, timeout: 60_000 };
    execFile(process.execPath, [script, how], options, (error: ExecFileException | null, output) =>
      resolve({ code: error ? Number(error.code) : 0, output }),
    );
  });

test("a process ends by itself when its work is done, without shutdown", async () => {
  expect(await child("await")).toEqual({ code: 0, output: "started on webgpu\ndone\n" });
});

test("a process waits for work under way that nobody awaits", async () => {
  expect(await child("forget")).toEqual({ code: 0, output: "started on webgpu\ndone\n" });
});

test("a process that exits while work is under way does not hang", async () => {
  expect(await child("exit")).toEqual({ code: 3, output: "started on webgpu\n" });
});

test("without an adapter the next device of the list is taken, and the process ends by itself", async () => {
  expect(await child("await", { VK_ICD_FILENAMES: "/nowhere" })).toEqual({ code: 0, output: "started on cpu\ndone\n" });
});
