import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { originalLocation } from "../src/sourceMap.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "switchyard-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

const source = `interface Unused {
  readonly gone: number;
}
type AlsoGone = Unused;

export function where(x: AlsoGone | undefined): string | undefined {
  return x === undefined ? new Error("here").stack : undefined;
}
`;

/** Compiles the source, and finds where its error says it was made, by line and column. */
function compiled(...options: string[]): { file: string; line: number; column: number } {
  const name = options.length === 0 ? "beside" : "inline";
  writeFileSync(join(dir, `${name}.ts`), source);
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const flags = ["--target", "es2022", "--module", "nodenext", "--ignoreConfig", "--types", ""];
  execFileSync(process.execPath, [
    tsc,
    join(dir, `${name}.ts`),
    ...flags,
    ...(options.length === 0 ? ["--sourceMap"] : options),
  ]);
  const file = join(dir, `${name}.js`);
  const lines = readFileSync(file, "utf8").split("\n");
  const line = lines.findIndex((text) => text.includes("new Error"));
  return { file, line: line + 1, column: lines[line].indexOf("new Error") + 1 };
}
const column = source.split("\n")[6].indexOf("new Error") + 1;

test("a place in compiled code is told as that in its source, by a map beside it or in it", () => {
  for (const [name, options] of [
    ["beside", []],
    ["inline", ["--inlineSourceMap"]],
  ] as const) {
    const generated = compiled(...options);
    expect(generated.line).not.toBe(7);
    const found = originalLocation(`${generated.file}:${generated.line}:${generated.column}`);
    expect(found).toBe(`${join(dir, `${name}.ts`)}:7:${column}`);
  }
});

test("where there is no map, or none that can be read, the place stays as it is", () => {
  const file = join(dir, "plain.js");
  writeFileSync(file, "export {};\n//# sourceMappingURL=missing.js.map");
  for (const location of [`${file}:1:1`, join(dir, "none.js:3:4"), "<anonymous>"])
    expect(originalLocation(location)).toBe(location);
});
