import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Startup } from "../programs/startup.ts";
import { atMost } from "../runner/report.ts";
import { runScript } from "../runner/script.ts";
import { median } from "../runner/statistics.ts";
import type { Suite } from "../runner/suite.ts";

const rounds = 7;

const ways = {
  "switchyard, built": { script: "dist/startup.mjs", args: [] },
  "switchyard, TypeScript sources": { script: "programs/startup.ts", args: [] },
  "jax-js": { script: "programs/startup.ts", args: ["jax-js"] },
} as const;

export const startup: Suite = {
  what: "importing the library and the first operation, in a fresh process",
  async run() {
    await bundle();
    const found = Object.entries(ways).map(([name, way]) => ({ name, way, times: [] as Startup[] }));
    for (let round = 0; round < rounds; round++)
      for (const { way, times } of found) times.push(await runScript<Startup>(way.script, way.args));
    const rows = found.map(({ name, times }) => {
      const [imported, first] = [median(times.map((t) => t.importMs)), median(times.map((t) => t.firstMs))];
      return { name, imported, first, both: imported + first };
    });
    return {
      tables: [
        {
          title: `Median of ${rounds} processes`,
          columns: ["who", "import, ms", "first operation, ms", "both, ms"],
          rows: rows.map(({ name, imported, first, both }) => [name, imported, first, both]),
        },
      ],
      bars: [atMost("import and first operation, built", rows[0].both, 100, " ms")],
      chart: {
        title: "Import and first operation",
        unit: "ms, less is better",
        bars: rows.map(({ name, both }) => ({ group: "both", label: name, value: both })),
      },
      notes: [
        "Built: one file without types, as a published package is imported. The sources are stripped of types at each start.",
        "tfjs is not here: what it takes in Node depends on a bundle of our making.",
      ],
      data: found,
    };
  },
};

/** Our part of the program as one file of JavaScript. */
const bundle = () =>
  build({
    entryPoints: [fileURLToPath(new URL("../programs/startup.ts", import.meta.url))],
    outfile: fileURLToPath(new URL("../dist/startup.mjs", import.meta.url)),
    bundle: true,
    format: "esm",
    platform: "node",
    conditions: ["source"],
    external: ["@jax-js/jax"],
    logLevel: "silent",
  });
