// Mistakes that mixtures of experts have made elsewhere, where no other file here tests against them: see docs/moe-traps.md.
import { readFile } from "node:fs/promises";
import { adam, grad, treeLeaves, valueAndGrad } from "@switchyard/autograd";
import { init, random, realize, softmax, tensor, topK, where, type DeviceName, type Tensor } from "@switchyard/tensor";
import {
  importanceLoss,
  loadLoss,
  makeRouting,
  moe,
  noisyTopK,
  softmaxTopK,
  switchLoss,
  type Router,
  type Routing,
} from "@switchyard/moe";
import { describe, expect, test } from "vitest";

const isZero = async (t: Tensor): Promise<boolean> => [...(await t.data())].every((v) => v === 0);
const isFinite = async (t: Tensor): Promise<boolean> => [...(await t.data())].every(Number.isFinite);

describe.each<DeviceName>(["cpu", "wasm"])("on %s", (device) => {
  test("a noisy top-1 router learns from its losses alone: its one weight is always 1", async () => {
    await init(device);
    const layer = moe({ dim: 3, hidden: 4, experts: 4, router: noisyTopK({ k: 1 }) });
    const params = layer.init(random.key(0));
    const x = random.normal(random.key(1), [8, 3]);
    const apply = (p: typeof params) => layer.apply(p, x, { train: true, key: random.key(2) });
    const task = grad((p: typeof params) => apply(p).output.square().sum())(params);
    expect(await isZero(task.router.gate)).toBe(true);
    const balance = grad((p: typeof params) => loadLoss(apply(p).routing))(params);
    expect(await isZero(balance.router.gate)).toBe(false);
  });

  test("a token whose every expert is ruled out gets an output of 0 and no NaN in any gradient", async () => {
    await init(device);
    const ruledOut = tensor([[true], [false]]);
    const router: Router<{ gate: Tensor }> = {
      init: (key, { dim, experts }) => ({ gate: random.normal(key, [dim, experts]) }),
      route({ gate }, x) {
        const logits = where(ruledOut, -Infinity, x.matmul(gate));
        const { values, indices } = topK(logits, 2);
        return makeRouting({ experts: indices, weights: softmax(values), logits });
      },
    };
    const losses = { importance: (r: Routing) => importanceLoss(r), switch: (r: Routing) => switchLoss(r) };
    const layer = moe({ dim: 2, hidden: 4, experts: 3, router, losses });
    const params = layer.init(random.key(0));
    const x = random.normal(random.key(1), [2, 2]);
    const { output } = layer.apply(params, x);
    expect(await output.slice(0).toArray()).toEqual([0, 0]);
    expect(await isZero(output.slice(1))).toBe(false);
    const grads = grad(([p, x]: [typeof params, Tensor]) => {
      const { output, balance } = layer.apply(p, x);
      return output.square().sum().add(balance);
    })([params, x]);
    for (const t of treeLeaves(grads)) expect(await isFinite(t)).toBe(true);
  });

  test("an untrained router in evaluation ties everywhere, and the lowest experts get every token", async () => {
    await init(device);
    const router = noisyTopK({ k: 2 });
    const { experts, counts } = router.route(
      router.init(random.key(0), { dim: 4, experts: 9 }),
      random.normal(random.key(1), [33, 4]),
    );
    expect(await experts.toArray()).toEqual(Array.from({ length: 33 }, () => [0, 1]));
    expect(await counts.toArray()).toEqual([33, 33, 0, 0, 0, 0, 0, 0, 0]);
  });

  test("a step of Adam moves every expert that saw a token, and leaves every other as it was, to the bit", async () => {
    await init(device);
    const layer = moe({ dim: 3, hidden: 4, experts: 4, router: softmaxTopK({ k: 2 }), activation: "silu" });
    const gate = tensor([[1, 2, -9, 3]]).broadcastTo([3, 4]);
    const params = await realize({ router: { gate }, experts: layer.init(random.key(0)).experts });
    const x = random.uniform(random.key(1), [40, 3], { min: 0.1, max: 1 });
    const optimizer = adam({ learningRate: 0.1 });
    const [{ routing }, grads] = valueAndGrad((p: typeof params) => {
      const { output, routing } = layer.apply(p, x);
      return { loss: output.square().sum(), routing };
    })(params);
    const [next] = optimizer.update(params, grads, optimizer.init(params));
    expect(await routing.counts.toArray()).toEqual([0, 40, 0, 40]);
    const [before, after] = [treeLeaves(params.experts), treeLeaves(next.experts)];
    for (const [i, t] of after.entries())
      for (let e = 0; e < 4; e++) expect(await isZero(t.slice(e).sub(before[i].slice(e)))).toBe(e === 0 || e === 2);
  });

  test("layers that are unbalanced in opposite directions do not cancel: each loss is of one layer", async () => {
    await init(device);
    const all = (expert: number) =>
      makeRouting({
        experts: tensor([expert, expert], { shape: [2, 1], dtype: "i32" }),
        weights: tensor([[1], [1]]),
        logits: tensor([expert === 0 ? [9, -9] : [-9, 9]]).broadcastTo([2, 2]),
      });
    for (const loss of [switchLoss, importanceLoss]) {
      const sum = await loss(all(0))
        .add(loss(all(1)))
        .item();
      expect(sum).toBeCloseTo(2 * (await loss(all(0)).item()), 5);
      expect(sum).toBeGreaterThan(1.9);
    }
  });
});

const pages = await Promise.all(
  ["moe-traps.md", "moe-matrix.md"].map((page) => readFile(new URL(`../../../docs/${page}`, import.meta.url), "utf8")),
);
const cited = [...pages.join("\n").matchAll(/\[([^\]]+)\]\(\.\.\/((?:packages|examples)\/[^)]+)\)/g)].map(
  ([, sentence, file]) => ({ sentence, file }),
);

test.each(cited)("the tables cite a test that exists: $sentence", async ({ sentence, file }) => {
  const source = await readFile(new URL(`../../../${file}`, import.meta.url), "utf8");
  expect(source).toContain(sentence);
});
