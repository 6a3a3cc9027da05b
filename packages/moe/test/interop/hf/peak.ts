// What exportHf holds on the host beyond the parameters: prints the peak, the largest parameter and all of them, in bytes.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { init, random, realize, Tensor } from "@switchyard/tensor";
import { treeLeaves } from "@switchyard/autograd";
import { exportHf, hfConfig, softmaxTopK, transformer } from "@switchyard/moe";
import { mixtralSizes } from "./mixtralSizes.ts";

await init("cpu");
const sizes = { vocab: 32, dim: 64, layers: 16, heads: 4, kvHeads: 2, hidden: 96, context: 16 };
const model = transformer({
  ...sizes,
  activation: "swiglu",
  tie: true,
  moe: { experts: 4, k: 2, bias: false, router: softmaxTopK({ k: 2 }), losses: {} },
});
const params = await realize(model.init(random.key(0)));
const config = hfConfig("mixtral", { ...sizes, ...mixtralSizes });

const held = (): number => {
  globalThis.gc!();
  return process.memoryUsage().arrayBuffers;
};
let peak = 0;
// What was made on the way here is let go of in the background.
for (let i = 0; i < 5; i++) {
  held();
  await new Promise((resolve) => void setTimeout(resolve, 20));
}
const before = held();
// When a parameter has been read is when most is held: it, and what was not let go of before.
const read = Reflect.get(Tensor.prototype, "data") as (this: Tensor) => ReturnType<Tensor["data"]>;
Reflect.set(Tensor.prototype, "data", async function measured(this: Tensor) {
  const data = await read.call(this);
  peak = Math.max(peak, held() - before);
  return data;
});
const dir = await mkdtemp(join(tmpdir(), "switchyard-"));
try {
  await exportHf(join(dir, "model"), { params, config });
} finally {
  await rm(dir, { recursive: true });
}
const bytes = treeLeaves(params).map((t) => 4 * t.size);
console.log(JSON.stringify({ peak, largest: Math.max(...bytes), total: bytes.reduce((a, b) => a + b) }));
