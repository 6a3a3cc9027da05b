export { run } from "./cli/program.ts";
export { createRun, newestRun, readRun, type ModelSizes, type RunConfig } from "./training/runDirectory.ts";
