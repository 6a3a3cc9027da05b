// The language model of lstmMoe.ts learns this repository's README, or another text: `npm run example examples/trainLstmMoe.ts FILE`.
import { init } from "@switchyard/tensor";
import { adam } from "@switchyard/autograd";
import { train } from "@switchyard/moe";
import { model } from "./lstmMoe.ts";
import { batchesOf } from "./text.ts";

await init("wasm");
const data = await batchesOf(process.argv[2] ?? "README.md");
for await (const { step, loss } of train({ model, data, optimizer: adam({ learningRate: 2e-3 }), steps: 200 }))
  if (step % 20 === 0) console.log(`step ${step}: loss ${loss.toFixed(3)}`);
