import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

/** What a module imports, at once or on demand, but for types. */
const importsOf = (source: string): string[] =>
  [
    ...source.matchAll(/^(?:import|export)(?! type)[^;]*? from "([^"]+)";|^import "([^"]+)";|import\("([^"]+)"\)/gms),
  ].flatMap(([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? []);

test("nothing that the main entry leads to needs Node: a bundler for pages finds all of it", async () => {
  const seen = new Map<string, string[]>();
  const visit = async (url: URL): Promise<void> => {
    if (seen.has(url.href)) return;
    const imports = importsOf(await readFile(url, "utf8"));
    seen.set(url.href, imports);
    for (const path of imports)
      if (path.startsWith(".")) await visit(new URL(path, url));
      else if (path === "#files") await visit(new URL("../src/interop/files.browser.ts", import.meta.url));
  };
  await visit(new URL("../src/index.ts", import.meta.url));
  expect(seen.size).toBeGreaterThan(60);
  const ofNode = [...seen].filter(([, imports]) => imports.some((path) => /^node:|^commander$|files\.node/.test(path)));
  expect(ofNode.map(([url]) => url)).toEqual([]);
});
