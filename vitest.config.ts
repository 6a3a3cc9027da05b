import { defineConfig } from "vitest/config";

const conditions = ["source", "module", "node", "development|production"];

/** Milliseconds. What takes longer runs only with SWITCHYARD_DEEP=1. */
const limit = process.env.SWITCHYARD_DEEP ? 600_000 : 30_000;

/** Tests read the sources. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["source"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "bench/**/*.test.ts", "examples/test/*.test.ts"],
    pool: "forks",
    execArgv: ["--conditions=source"],
    setupFiles: process.env.SWITCHYARD_DEEP ? ["vitest.deep.ts"] : [],
    maxWorkers: 2,
    testTimeout: limit,
    hookTimeout: limit, // starting a device compiles kernels
  },
});
