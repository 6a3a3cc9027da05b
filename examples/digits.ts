// Handwritten digits told apart by a mixture that is balanced by a bias and not by a loss: `npm run example examples/digits.ts`.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { crossEntropy, init as start, random, tensor, type Key } from "@switchyard/tensor";
import { adamw } from "@switchyard/autograd";
import { linear, moe, sigmoidTopK, splitTable, tableBatches, train, updateBias } from "@switchyard/moe";
import type { LabeledRows, Routing } from "@switchyard/moe";

const up = linear({ in: 784, out: 128 });
const mixture = moe({ dim: 128, hidden: 256, experts: 8, router: sigmoidTopK({ k: 2 }), activation: "swiglu" });
const out = linear({ in: 128, out: 10 });

const init = (key: Key) => {
  const [a, b, c] = random.split(key, 3);
  return { up: up.init(a), mixture: mixture.init(b), out: out.init(c) };
};
type Params = ReturnType<typeof init>;

export const model = {
  init,
  loss(p: Params, { x, label }: LabeledRows) {
    const h = up.apply(p.up, x).relu();
    const { output, routing } = mixture.apply(p.mixture, h);
    const logits = out.apply(p.out, h.add(output)); // [B, 10]
    const accuracy = logits.argMax(-1).eq(label).cast("f32").mean();
    return { loss: crossEntropy(logits, label), accuracy, routing };
  },
  afterStep(p: Params, { routing }: { routing: Routing }): Params {
    const { router, ...rest } = p.mixture;
    return {
      ...p,
      mixture: { ...rest, router: { ...router, bias: updateBias(router.bias, routing.counts, { speed: 0.02 }) } },
    };
  },
};

/** So many images of each digit, 28 x 28 pixels from 0 to 1, of the package `mnist`, in two parts. */
export async function digits(each: number) {
  const ofDigit = async (digit: number): Promise<number[]> => {
    const path = fileURLToPath(import.meta.resolve(`mnist/src/digits/${digit}.json`));
    const { data } = JSON.parse(await readFile(path, "utf8")) as { data: number[] };
    return data.slice(0, 784 * each);
  };
  const images = await Promise.all(Array.from({ length: 10 }, (_, digit) => ofDigit(digit)));
  const x = tensor(Float32Array.from(images.flat()), { shape: [10 * each, 784] });
  const label = tensor(Int32Array.from({ length: 10 * each }, (_, i) => Math.floor(i / each)));
  return splitTable({ x, label }, { heldOut: 0.2, seed: 0 });
}

/** Trains for so many steps, and judges by digits that were held out. */
export async function* classify(steps: number, each: number) {
  const { train: seen, heldOut } = await digits(each);
  const optimizer = adamw({
    learningRate: 1e-3,
    weightDecay: 0.1,
    each: (path) => (path.endsWith("router.bias") ? { frozen: true } : undefined),
  });
  const data = tableBatches(seen, { batch: 64, seed: 0 });
  const evaluate = { data: tableBatches(heldOut, { batch: 2 * each, seed: 0 }), batches: 1, every: 50 };
  for await (const { step, evaluation, aux } of train({ model, data, optimizer, steps, evaluate })) {
    if (!evaluation) continue;
    const { loss, accuracy } = evaluation;
    yield { step: step + 1, loss, accuracy, counts: [...(await aux.routing.counts.data())] };
  }
}

if (import.meta.main) {
  await start("wasm");
  for await (const { step, loss, accuracy, counts } of classify(400, 800))
    console.log(
      `step ${step}: held-out loss ${loss.toFixed(3)}, ${(100 * accuracy).toFixed(1)} % right, digits by expert ${counts}`,
    );
}
