import { fc, test as property } from "@fast-check/vitest";
import { init, mark, random, scope, type Tensor } from "@switchyard/tensor";
import { grad, ledger, treeLeaves, treePaths } from "@switchyard/autograd";
import {
  expertChoice,
  explainRouter,
  hierarchicalMoe,
  importanceLoss,
  loadLoss,
  moe,
  noisyTopK,
  sigmoidTopK,
  softmaxTopK,
  switchLoss,
  transformer,
  zLoss,
  type Routing,
} from "@switchyard/moe";
import { describe, expect, test } from "vitest";

await init("cpu");

const [tokens, experts] = [12, 4];
const losses = {
  importance: (r: Routing) => importanceLoss(r, { weight: 0.1 }),
  load: (r: Routing) => loadLoss(r, { weight: 0.1 }),
};
const layer = () => moe({ dim: 6, hidden: 8, experts, router: noisyTopK({ k: 2 }), losses });

/** Two mixtures, one above the other, so that the losses of the upper reach the router of the lower. */
async function explained(options = { marks: ["combine"] }) {
  const [below, above] = [layer(), layer()];
  const gate = (key: number): Tensor => random.normal(random.key(key), [6, experts]);
  const [a, b] = [below.init(random.key(0)), above.init(random.key(1))];
  const params = {
    below: { ...a, router: { ...a.router, gate: gate(2) } },
    above: { ...b, router: { ...b.router, gate: gate(3) } },
  };
  const x = random.normal(random.key(4), [tokens, 6]);
  const loss = (p: typeof params) => {
    const first = scope("below", () => below.apply(p.below, x, { train: true, key: random.key(5) }));
    const second = scope("above", () => above.apply(p.above, first.output, { train: true, key: random.key(6) }));
    return second.output.square().mean().add(first.balance).add(second.balance);
  };
  const book = await ledger(loss)(params, options);
  return { book, routers: explainRouter(book), loss, params };
}
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe("what moves a router", () => {
  test("is told by term and path, of the logits and of the gate", async () => {
    const { routers } = await explained();
    expect(routers.map(({ router, tokens: t, experts: e }) => [router, t, e])).toEqual([
      ["below/router", tokens, experts],
      ["above/router", tokens, experts],
    ]);
    const movers = (of: readonly { term: string; path: string }[]) => of.map(({ term, path }) => `${term} by ${path}`);
    const [below, above] = routers;
    const own = ["importance by routing", "load by routing", "task by combine weights"];
    expect(movers(above.logits).toSorted()).toEqual(own);
    expect(movers(above.gate!).toSorted()).toEqual(own);
    const all = [...own, "importance by later layers", "load by later layers"].toSorted();
    expect(movers(below.logits).toSorted()).toEqual(all);
    expect(movers(below.gate!).toSorted()).toEqual(all);
    expect(below.logits.every(({ norm }) => norm > 0)).toBe(true);
  });

  test("adds up: shares over experts and tokens to those of terms, those to 1, gradients to the gradient", async () => {
    const { routers, book, loss, params } = await explained();
    for (const { logits, gate, router } of routers) {
      for (const { share, byExpert, byToken } of logits) {
        expect(sum(byExpert)).toBeCloseTo(share, 12);
        expect(sum(byToken)).toBeCloseTo(share, 12);
        expect([byExpert.length, byToken.length]).toEqual([experts, tokens]);
      }
      expect(sum(logits.map(({ share }) => share))).toBeCloseTo(1, 6);
      expect(sum(gate!.map(({ share }) => share))).toBeCloseTo(1, 6);
      const whole = await book.of(`${router}/logits`).total.data();
      whole.forEach((value, i) => expect(sum(logits.map(({ gradient }) => gradient[i]))).toBeCloseTo(value, 6));
    }
    const plain = await grad(loss)(params).below.router.gate.data();
    expect([...(await book.of("below.router.gate").total.data())]).toEqual([...plain].map((g) => expect.closeTo(g, 6)));
  });

  test("has paths only if the ledger told them apart", async () => {
    const { routers } = await explained({ marks: [] });
    expect(routers.flatMap(({ logits }) => logits.map(({ path }) => path)).every((path) => path === "any")).toBe(true);
  });

  test("reads as a table", async () => {
    const { routers } = await explained();
    const lines = String(routers[1]).split("\n");
    expect(lines[0]).toBe(`above/router: what moves its logits, by ${tokens} tokens`);
    expect(lines[1]).toMatch(/^ +path +norm +share$/);
    expect(lines[2]).toMatch(/^ {2}\S+ +\S.+ +\d\.\d\de[+-]\d+ +-?\d+\.\d%$/);
    expect(lines[5]).toBe("these shares by expert, in percent");
    expect(lines[6]).toMatch(/^ +0 +1 +2 +3$/);
    expect(lines[7]).toMatch(/^ {2}\S+ +\S.+( +-?\d+\.\d){4}$/);
    expect(lines[10]).toBe("and its gate");
  });

  test("shows eight experts beside each other, so that lines of many fit a terminal", async () => {
    const router = softmaxTopK({ k: 2 });
    const x = random.normal(random.key(1), [5, 6]);
    const params = router.init(random.key(0), { dim: 6, experts: 20 });
    const [found] = explainRouter(await ledger((p: typeof params) => switchLoss(router.route(p, x)))(params));
    const heads = String(found)
      .split("\n")
      .filter((line) => /^ +\d+( +\d+)*$/.test(line))
      .map((line) => line.trim().split(/ +/).map(Number));
    expect(heads.map((head) => head.length)).toEqual([8, 8, 4]);
    expect(heads.flat()).toEqual([...Array(20).keys()]);
    for (const line of String(found).split("\n")) expect(line.length).toBeLessThan(80);
  });

  test("of a router by itself, outside all scopes, finds its gate", async () => {
    const router = softmaxTopK({ k: 2 });
    const x = random.normal(random.key(1), [5, 6]);
    const params = router.init(random.key(0), { dim: 6, experts });
    const [found] = explainRouter(await ledger((p: typeof params) => switchLoss(router.route(p, x)))(params));
    expect([found.router, found.gate!.map(({ term }) => term)]).toEqual(["", ["task"]]);
  });

  test("is told of two routers by themselves, and of no other mark that is called logits", async () => {
    const router = softmaxTopK({ k: 2 });
    const init = (key: number) => router.init(random.key(key), { dim: 6, experts });
    const params = { a: init(0), b: init(1), head: random.normal(random.key(2), [6, 9]) };
    const x = random.normal(random.key(3), [5, 6]);
    const loss = (p: typeof params) => {
      const own = mark("logits", x.matmul(p.head));
      const inner = scope("router", () => mark("logits", own.mul(2)));
      return switchLoss(router.route(p.a, x))
        .add(switchLoss(router.route(p.b, x)))
        .add(inner.square().mean());
    };
    const book = await ledger(loss)(params);
    expect(book.marks).toHaveLength(4);
    const found = explainRouter(book);
    expect(found.map(({ router: name, tokens: t, experts: e }) => [name, t, e])).toEqual([
      ["#2", 5, experts],
      ["#3", 5, experts],
    ]);
  });

  test("is told of a router of one's own that says so", async () => {
    const params = { gate: random.normal(random.key(0), [6, experts]) };
    const x = random.normal(random.key(1), [5, 6]);
    const loss = (p: typeof params) =>
      scope("mine", () => mark("scores", x.matmul(p.gate), { role: "router logits" }))
        .square()
        .mean();
    expect(explainRouter(await ledger(loss)(params)).map(({ router }) => router)).toEqual(["mine"]);
  });

  test("of a hierarchy is told level by level, of each gate", async () => {
    const mixture = hierarchicalMoe({ dim: 6, hidden: 8, experts, groups: 2, topGroups: 2, k: 2 });
    const params = { moe: mixture.init(random.key(0)) };
    const x = random.normal(random.key(1), [5, 6]);
    const loss = (p: typeof params) => {
      const { output } = scope("moe", () => mixture.apply(p.moe, x, { train: true, key: random.key(2) }));
      return output.square().mean();
    };
    const found = explainRouter(await ledger(loss)(params, { marks: ["combine"] }));
    expect(found.map(({ router, tokens: rows, experts: columns }) => [router, rows, columns])).toEqual([
      ["moe/router/primary", 5, 2],
      ["moe/router/secondary", 10, 2],
    ]);
    expect(found.every(({ gate }) => gate![0].norm > 0 && gate![0].path === "combine weights")).toBe(true);
  });

  test("of experts that choose, marks the weights once", async () => {
    const mixture = moe({ dim: 6, hidden: 8, experts, router: expertChoice({ capacityFactor: 1 }) });
    const x = random.normal(random.key(1), [8, 6]);
    const loss = (p: ReturnType<typeof mixture.init>) => mixture.apply(p, x).output.square().mean();
    const book = await ledger(loss)(mixture.init(random.key(0)), { marks: ["combine"] });
    expect(book.marks).toEqual(["router/logits", "router/combine"]);
  });

  test("cannot be told where no gradient arrives at logits", async () => {
    const book = await ledger((p: { w: Tensor }) => p.w.sum())({ w: random.normal(random.key(0), [2]) });
    expect(() => explainRouter(book)).toThrow(/explainRouter: no gradient arrives at the logits of a router/);
  });
});

/** Real models: layers with any router, dense or sparse, and small transformers. */
const model = fc.record({
  kind: fc.constantFrom("noisy", "softmax", "sigmoid", "transformer"),
  k: fc.integer({ min: 1, max: 3 }),
  dense: fc.boolean(),
  weight: fc.constantFrom(0, 0.1, 1),
  seed: fc.nat(1000),
});
type Case = typeof model extends fc.Arbitrary<infer T> ? T : never;

function lossOf({ kind, k, dense, weight, seed }: Case) {
  const key = random.key(seed);
  if (kind === "transformer") {
    const lm = transformer({ vocab: 7, dim: 8, layers: 2, heads: 2, hidden: 8, context: 4, moe: { experts: 3, k } });
    const tokens = random.randint(key, [2, 4], { max: 7 });
    const loss = (p: ReturnType<typeof lm.init>) =>
      lm.loss(p, { tokens, targets: tokens }, { train: true, key: random.fold(key, 1) });
    return { loss: loss as (p: unknown) => { loss: Tensor }, params: lm.init(random.fold(key, 2)) };
  }
  const router = { noisy: noisyTopK({ k }), softmax: softmaxTopK({ k }), sigmoid: sigmoidTopK({ k }) }[kind];
  const one = moe<unknown, Routing & { logits: Tensor }, "switch" | "z">({
    dim: 5,
    hidden: 6,
    experts,
    router: router as never,
    dispatch: dense ? "dense" : "dropless",
    losses: { switch: (r) => switchLoss(r, { weight }), z: (r) => zLoss(r.logits, { weight: 0 }) },
  });
  const x = random.normal(random.fold(key, 1), [6, 5]);
  const loss = (p: unknown) => {
    const { output, balance } = one.apply(p as never, x, { train: true, key: random.fold(key, 2) });
    return { loss: output.square().mean().add(balance) };
  };
  return { loss, params: one.init(random.fold(key, 3)) as unknown };
}

const numRuns = process.env.SWITCHYARD_DEEP ? 1000 : 100;

property.prop([model], { numRuns })(
  "on real mixtures the parts add up to the gradient, and a loss of weight zero gives exactly nothing",
  async (given) => {
    const { loss, params } = lossOf(given);
    const book = await ledger(loss)(params, { explain: false });
    const plain = treeLeaves(grad(loss)(params));
    for (const [i, path] of treePaths(params).entries()) {
      const { total, parts } = book.of(path);
      const [whole, expected] = await Promise.all([total.data(), plain[i].data()]);
      const scale = parts.reduce((s, part) => s + part.norm, 1e-30);
      expect(Math.hypot(...Array.from(whole, (g, j) => g - expected[j]))).toBeLessThan(1e-5 * scale);
      for (const part of parts) {
        const isZero = part.class.term === "z" || (given.weight === 0 && part.class.term === "switch");
        if (isZero) expect([...new Set(Array.from(part.elements, Math.abs))]).toEqual([0]);
      }
    }
  },
  120_000, // a busy machine needs its time
);
