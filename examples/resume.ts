// A run that may be killed at any moment and goes on, bit for bit, where its last checkpoint was: `npm run example examples/resume.ts`,
// stop it with Ctrl-C or kill -9, and start it again.
import { existsSync } from "node:fs";
import { init } from "@switchyard/tensor";
import { adamw, warmupCosine } from "@switchyard/autograd";
import { train, type TextBatch } from "@switchyard/moe";
import { model } from "./lstmMoe.ts";
import { batchesOf } from "./text.ts";

/** Everything that decides a run. The learning rate knows the length of the whole, so a shorter first part is still a part of it. */
export const runOptions = (data: (step: number) => TextBatch, steps: number, dir: string, every: number) => ({
  model,
  data,
  steps,
  seed: 7,
  optimizer: adamw({
    learningRate: warmupCosine({ peak: 3e-3, warmup: Math.ceil(steps / 10), steps }),
    weightDecay: 0.1,
    each: (path, t) => (t.ndim < 2 || path.includes("router") ? { weightDecay: 0 } : undefined),
  }),
  checkpoint: { dir, every },
});

if (import.meta.main) {
  await init("wasm");
  const dir = "runs/example";
  const options = runOptions(await batchesOf("README.md"), 400, dir, 20);
  for await (const { step, loss } of train({ ...options, resume: existsSync(dir) }))
    if (step % 20 === 0) console.log(`step ${step}: loss ${loss.toFixed(3)}`);
}
