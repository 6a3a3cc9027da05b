import { adam, grad, treeLeaves, treePaths } from "@switchyard/autograd";
import { init, random, tensor, type Tensor } from "@switchyard/tensor";
import { corpusOf, generate, lstm, lstmMoe, moe, noisyTopK, randomBatches, train } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { numbers } from "../oracle.ts";

beforeAll(() => init("wasm"));

const sizes = { vocab: 7, dim: 8, hidden: 6, experts: 4, k: 2 };
const model = lstmMoe(sizes);
const ids = (batch: number, steps: number): Tensor =>
  tensor(
    numbers(3, batch * steps).map((v) => Math.abs(Math.round(v * 5)) % 7),
    { shape: [batch, steps], dtype: "i32" },
  );
const largest = (t: Tensor) => t.abs().max().item();

describe("lstmMoe", () => {
  test("is embedding, LSTM, one mixture over all steps, LSTM and softmax, each but the last added to its input", async () => {
    const p = model.init(random.key(0));
    const recurrent = lstm({ in: 8, hidden: 8 });
    const mixture = moe({ dim: 8, hidden: 6, experts: 4, router: noisyTopK({ k: 2 }) });
    const tokens = ids(2, 5);
    const x = p.embedding.table.gather(tokens, 0);
    const a = x.add(recurrent.apply(p.first, x));
    const b = a.add(mixture.apply(p.mixture, a).output.sigmoid());
    const c = b.add(recurrent.apply(p.second, b));
    const logits = c.reshape([10, 8]).matmul(p.head.weight).add(p.head.bias!).reshape([2, 5, 7]);
    const made = model.apply(p, tokens);
    expect(await largest(made.logits.sub(logits))).toBeLessThan(1e-5);
    expect(made.routings[0].experts.shape).toEqual([10, 2]);
  });

  test("every parameter gets a gradient", async () => {
    const params = model.init(random.key(0));
    const grads = grad((p: typeof params) =>
      model.loss(p, { tokens: ids(2, 5), targets: ids(2, 5) }, { train: true, key: random.key(1) }),
    )(params);
    const norms = await Promise.all(treeLeaves(grads).map(largest));
    const still = treePaths(grads).filter((_, i) => !(norms[i] > 0));
    expect(still).toEqual([]);
  });

  test("step by step it says what it says at once", async () => {
    const params = model.init(random.key(0));
    const tokens = ids(2, 6);
    const { logits } = model.apply(params, tokens);
    let cache = model.start(params, 2);
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 6],
    ]) {
      const made = model.step(params, tokens.slice([], [from, to]), cache);
      expect(await largest(made.logits.sub(logits.slice([], [from, to])))).toBeLessThan(1e-5);
      cache = made.cache;
    }
  });

  test("dropout is drawn in training alone", async () => {
    const wet = lstmMoe({ ...sizes, dropout: 0.5 });
    const params = wet.init(random.key(0));
    const tokens = ids(2, 4);
    const dry = model.apply(params, tokens).logits;
    expect(await largest(wet.apply(params, tokens).logits.sub(dry))).toBe(0);
    expect(
      await largest(wet.apply(params, tokens, { train: true, key: random.key(1) }).logits.sub(dry)),
    ).toBeGreaterThan(0.01);
  });

  test("learns a text and goes on with it", async () => {
    const corpus = corpusOf("ab ".repeat(60), "rhythm", { atLeast: 9 });
    const rhythm = lstmMoe({ ...sizes, vocab: corpus.tokenizer.size });
    const { params } = await train({
      model: rhythm,
      data: randomBatches(corpus.train, { batch: 8, context: 8 }, 0),
      optimizer: adam({ learningRate: 2e-2 }),
      steps: 30,
    }).finish();
    const prompt = corpus.tokenizer.encode("ab a");
    const made: number[] = [];
    for await (const id of generate(rhythm, params, { prompt, maxTokens: 8, temperature: 0 })) made.push(id);
    expect(corpus.tokenizer.decode(made)).toBe("b ab ab ");
  });
});
