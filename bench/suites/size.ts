import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, type Metafile } from "esbuild";
import { atMost } from "../runner/report.ts";
import type { Suite } from "../runner/suite.ts";

export const size: Suite = {
  what: "a page that trains a mixture of experts: tree-shaken, minified, gzipped",
  async run() {
    const ours = await weigh({ entryPoints: [fileURLToPath(new URL("../programs/page.ts", import.meta.url))] });
    const jax = await weigh({
      stdin: {
        contents: `import * as jax from "@jax-js/jax"; globalThis.jax = [jax.numpy, jax.nn, jax.grad, jax.jit, jax.init];`,
        resolveDir: fileURLToPath(new URL(".", import.meta.url)),
      },
    });
    const parts = folders(ours.metafile);
    return {
      tables: [
        {
          title: "What loads at once (other chunks load on demand)",
          columns: ["who", "KB minified", "KB gzipped", "on demand, KB gzipped"],
          rows: [
            ["switchyard, the whole page", ours.minified, ours.gzipped, ours.onDemand],
            ["jax-js, the library alone", jax.minified, jax.gzipped, jax.onDemand],
          ],
        },
        {
          title: "Where ours comes from",
          columns: ["folder", "KB minified"],
          rows: parts.map(([folder, bytes]) => [folder, bytes / 1000]),
        },
      ],
      bars: [atMost("a page that trains a mixture on wasm", ours.gzipped, 60, " KB")],
      chart: {
        title: "Size of a page",
        unit: "KB gzipped",
        bars: [
          { group: "at once", label: "switchyard", value: ours.gzipped },
          { group: "at once", label: "jax-js", value: jax.gzipped },
        ],
      },
      notes: [
        "The wasm device is counted as loaded at once, though it comes by a dynamic import: a page that trains on it needs it.",
      ],
      data: { ours: parts, minified: ours.minified, gzipped: ours.gzipped },
    };
  },
};

/** Kilobytes of 1000. */
async function weigh(input: Parameters<typeof build>[0]) {
  const { outputFiles, metafile } = await build({
    ...input,
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    conditions: ["source"],
    target: "es2024",
    metafile: true,
    write: false,
    outdir: "out",
    logLevel: "silent",
    absWorkingDir: fileURLToPath(new URL("../..", import.meta.url)),
  });
  const needed = neededAtOnce(metafile);
  const chunks = Object.keys(metafile.outputs).map((path) => ({
    needed: needed.has(path),
    bytes: outputFiles.find((file) => file.path.endsWith(path))!.contents,
  }));
  const total = (atOnce: boolean, weight: (bytes: Uint8Array) => number): number =>
    chunks.filter((c) => c.needed === atOnce).reduce((sum, { bytes }) => sum + weight(bytes) / 1000, 0);
  const gzipped = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length;
  return {
    metafile,
    minified: total(true, (bytes) => bytes.length),
    gzipped: total(true, gzipped),
    onDemand: total(false, gzipped),
  };
}

/** The chunks of the page and of the wasm device, with all that they import before they run. */
function neededAtOnce({ outputs }: Metafile): Set<string> {
  const needed = new Set<string>();
  const visit = (path: string): void => {
    if (needed.has(path)) return;
    needed.add(path);
    for (const { path: imported, kind } of outputs[path].imports) if (kind === "import-statement") visit(imported);
  };
  for (const [path, { entryPoint }] of Object.entries(outputs))
    if (entryPoint === "<stdin>" || /programs\/page|backend\/wasm\/backend/.test(entryPoint ?? "")) visit(path);
  return needed;
}

/** Bytes after minification by the folder they come from, the most first. */
function folders(metafile: Metafile): [string, number][] {
  const sums = new Map<string, number>();
  for (const chunk of neededAtOnce(metafile))
    for (const [path, { bytesInOutput }] of Object.entries(metafile.outputs[chunk].inputs)) {
      const folder = path.replace(/\/[^/]*$/, "");
      sums.set(folder, (sums.get(folder) ?? 0) + bytesInOutput);
    }
  return [...sums].toSorted((a, b) => b[1] - a[1]);
}
