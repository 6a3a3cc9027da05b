import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("children/revectorize.ts", import.meta.url));
/** The flag is the process's, so each case is a child; it runs sources as they are. */
const canStrip = Boolean(process.features.typescript);
/** Where the engine has the flag: since 23.5. */
const canFuse = Number(process.versions.node.split(".")[0]) >= 24;

const child = async (...args: string[]): Promise<string> =>
  (await promisify(execFile)(process.execPath, [script, ...args])).stdout.trim();

test.skipIf(!canStrip || !canFuse)("256-bit kernels have the bits of 128-bit ones", async () => {
  expect(await child("right")).toBe("on");
});

test.skipIf(!canStrip || !canFuse)("kernels that differ by a bit under the flag are refused", async () => {
  expect(await child("wrong")).toBe(
    "DeviceError: init: with revectorize, this engine computes a product, a product by groups, its weights' gradient, a softmax differently than without; drop the option",
  );
});
