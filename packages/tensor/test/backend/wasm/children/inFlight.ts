/**
 * A process with work on two workers: about as many milliseconds of it as the first argument says. The second says how it means
 * to end: `await` the work and do nothing more, `forget` it, or `exit` while it is under way.
 */
import { createParts } from "../../../../src/backend/wasm/backend.ts";
import { detectFeatures } from "../../../../src/backend/wasm/features.ts";
import { createPlanRunner } from "../../../../src/backend/wasm/planRunner.ts";
import { routinePlan } from "../planHarness.ts";

const [milliseconds, how] = process.argv.slice(2);
const parts = createParts(detectFeatures(), 2);
const { run } = createPlanRunner(parts);
const size = 250_000;
const plan = routinePlan("randomBits", { shape: [size] }, [
  { shape: [2], dtype: "u32" },
  { shape: [], dtype: "u32" },
]);
const leaves = [parts.heap.allocate(8, "host"), parts.heap.allocate(4, "host")];
const results = Array.from({ length: Number(milliseconds) }, () => {
  const { roots, done } = run({ plan, leaves, numbers: [] });
  for (const root of roots) parts.executor.free(root);
  return done;
});
console.log("started");
const all = Promise.all(results).then(() => console.log("done"));
if (how === "exit") setTimeout(() => process.exit(3), 50);
if (how === "await") await all;
