// What a program outside this repository compiles against: the declarations that are published.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

/** What the compiler complains of. */
const complaints = (...args: string[]): Promise<string> =>
  promisify(execFile)(process.execPath, [tsc, ...args], { cwd: root }).then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  );

const program = `
import { tensor, type Tensor } from "@switchyard/tensor";
import { grad, ledger } from "@switchyard/autograd";
import { matchers } from "@switchyard/autograd/testing";
import { moe, noisyTopK } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
const x: Tensor<"f32"> = tensor([1, 2]);
export { grad, ledger, matchers, moe, noisyTopK, routing, x };
`;

test("the types need the library of ES2022 and that of a page, and no option of the compiler", async () => {
  expect(await complaints("-b", "packages/tensor", "packages/autograd", "packages/moe")).toBe("");
  const dir = await mkdtemp(join(root, "examples", ".readme-types-"));
  try {
    await writeFile(join(dir, "package.json"), '{ "type": "module" }');
    await writeFile(join(dir, "program.ts"), program);
    const compilerOptions = { target: "es2022", module: "nodenext", types: [], strict: true, noEmit: true };
    await writeFile(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions }));
    expect(await complaints("-p", dir)).toBe("");
  } finally {
    await rm(dir, { recursive: true });
  }
});
