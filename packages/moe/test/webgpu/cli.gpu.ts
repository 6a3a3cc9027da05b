import { execFile, type ExecFileException } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const bin = fileURLToPath(new URL("../../bin/switchyard.js", import.meta.url));
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  await writeFile(join(dir, "text.txt"), "It was the best of times, it was the worst of times. ".repeat(12));
});
afterAll(() => rm(dir, { recursive: true }));

/** What Dawn says of a driver's limits, before a program has done anything. */
const ofDriver = /^Warning: max\w+ artificially reduced .*\n/gm;

/** Runs the command line as a shell would; it must end by itself. */
const switchyard = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    const options = { cwd: dir, timeout: 240_000 };
    execFile(process.execPath, [bin, ...args], options, (error: ExecFileException | null, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err: err.replaceAll(ofDriver, "") }),
    );
  });

test("a model is trained, goes on, is sampled and judged on webgpu, each command ending by itself", async () => {
  const sizes = ["--dim", "8", "--heads", "2", "--layers", "1", "--hidden", "8", "--context", "8", "--experts", "3"];
  const options = ["--device", "webgpu", "--data", "text.txt", "--batch", "2", "--steps", "3"];
  const trained = await switchyard("train", ...options, ...sizes);
  expect([trained.code, trained.err]).toEqual([0, ""]);
  expect(trained.out).toMatch(/^training runs\/1 on webgpu: /);
  const sampled = await switchyard("sample", "--device", "webgpu", "--prompt", "It was", "--tokens", "5");
  expect([sampled.code, sampled.out.length]).toEqual([0, "It was".length + 5 + 1]);
  const judged = async (device: string): Promise<number> =>
    (JSON.parse((await switchyard("eval", "--device", device, "--json")).out) as { heldOut: number }).heldOut;
  expect(await judged("webgpu")).toBeCloseTo(await judged("wasm"), 4);
});

test("devices tells of the adapter: its name, its limits and its features", async () => {
  const { out } = await switchyard("devices", "--device", "webgpu");
  const line = out.split("\n").find((text) => text.includes("webgpu"))!;
  expect(line).toMatch(
    /^\* webgpu {3}(f16 )?f32 i32 u32 bool, adapter: \w.*, software: (true|false), .*maxBufferSize: \d+, .*features: \w/,
  );
});
