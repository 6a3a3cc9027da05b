import { shutdown } from "@switchyard/tensor";
import { run } from "./program.ts";

// A reader that has seen enough, such as head, is no fault of ours.
process.stdout.on("error", (error: Error & { code?: string }) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
process.exitCode = await run(process.argv.slice(2));
await shutdown();
