import { defineConfig, mergeConfig } from "vitest/config";
import shared from "./vitest.config.ts";

const browser = defineConfig({
  // What a test takes from the site runs on the sources, not on the packages that lie there for the pages.
  resolve: { dedupe: ["@switchyard/tensor", "@switchyard/autograd", "@switchyard/moe"] },
  test: { maxWorkers: 1, testTimeout: 300_000 },
});

/** The tests that drive a browser: `npm run test:browser`. */
const config = mergeConfig(shared, browser);
config.test!.include = ["browser/*.browser.ts"];

export default config;
