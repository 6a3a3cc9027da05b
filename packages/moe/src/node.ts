export { run } from "./cli/program.ts";
export { readRun, type ModelSizes, type RunConfig } from "./training/runConfig.ts";
export { createRun, newestRun } from "./training/runDirectory.ts";
