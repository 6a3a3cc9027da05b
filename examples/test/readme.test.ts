// The programs in READMEs and docs/testing.md compile, run, and print what these say they print.
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test, vi } from "vitest";

const dir = fileURLToPath(new URL("../.readme/", import.meta.url));

const pages = [
  "README.md",
  "docs/testing.md",
  ...["tensor", "autograd", "moe"].map((name) => `packages/${name}/README.md`),
];

/** Each block of TypeScript and, where one follows, the block of text that it prints. */
async function programsOf(page: string) {
  const text = await readFile(new URL(`../../${page}`, import.meta.url), "utf8");
  return [...text.matchAll(/^```ts\n(.*?)^```\n+(?:```text\n(.*?)^```)?/gms)].map((match, i) => ({
    page,
    heading: text
      .slice(0, match.index)
      .match(/^#+ .*$/gm)!
      .at(-1)!,
    file: `${page.replace(/\W/g, "-")}-${i}.ts`,
    code: match[1],
    output: match[2],
  }));
}
const programs = (await Promise.all(pages.map(programsOf))).flat();

beforeAll(async () => {
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  const files = programs.map(({ file }) => file);
  const compilerOptions = { composite: false, incremental: false };
  await writeFile(
    join(dir, "tsconfig.json"),
    JSON.stringify({ extends: "../tsconfig.json", compilerOptions, files, include: [], references: [] }),
  );
  for (const { file, code } of programs) await writeFile(join(dir, file), code);
});

test("every block of TypeScript compiles", async () => {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const compiled = promisify(execFile)(process.execPath, [tsc, "-p", dir]);
  expect(
    await compiled.then(
      ({ stdout }) => stdout,
      (error: { stdout: string }) => error.stdout,
    ),
  ).toBe("");
});

test.each(programs)("the block under $heading of $page ($file) prints what it says", async ({ file, output }) => {
  let printed = "";
  const log = vi.spyOn(console, "log").mockImplementation((line: unknown) => void (printed += `${String(line)}\n`));
  await import(join(dir, file)).finally(() => log.mockRestore());
  if (output !== undefined) expect(printed).toBe(output);
});
