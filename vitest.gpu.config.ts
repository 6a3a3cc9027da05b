import { defineConfig, mergeConfig } from "vitest/config";
import shared from "./vitest.config.ts";

/**
 * The tests that need a WebGPU adapter. `npm run test:gpu` starts all of them where one is found; `npm test` starts a part in a
 * process of its own. One at a time: a device is not shared well.
 */
const gpu = defineConfig({
  test: {
    env: { SWITCHYARD_DEVICES: "webgpu" },
    setupFiles: ["packages/tensor/test/backend/webgpu/kernelsOf.ts"],
    maxWorkers: 1,
    testTimeout: 300_000,
  },
});

const config = mergeConfig(shared, gpu);
config.test!.include = ["packages/tensor/test/conformance/conformance.test.ts", "packages/*/test/**/*.gpu.ts"];
// To train takes minutes on a software adapter, most of them to compile kernels.
if (process.env.SWITCHYARD_GPU_SUBSET) config.test!.exclude = ["**/{training,loss,cli}.gpu.ts"];

export default config;
