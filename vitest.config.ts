import { defineConfig } from "vitest/config";

const conditions = ["source", "module", "node", "development|production"];

/** Tests read the sources. What takes longer than the limit here runs only with SWITCHYARD_DEEP=1. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["source"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "bench/**/*.test.ts", "examples/test/*.test.ts"],
    pool: "forks",
    execArgv: ["--conditions=source"],
    setupFiles: process.env.SWITCHYARD_DEEP ? ["vitest.deep.ts"] : [],
    maxWorkers: 2,
    testTimeout: process.env.SWITCHYARD_DEEP ? 600_000 : 30_000,
  },
});
