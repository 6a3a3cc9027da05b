import { fc, test as property } from "@fast-check/vitest";
import { ShapeError, init, realize, tensor, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import {
  adafactor,
  adam,
  adamw,
  clipByGlobalNorm,
  constant,
  cosine,
  globalNorm,
  grad,
  inverseSqrt,
  linear,
  lion,
  sgd,
  treeLeaves,
  warmupCosine,
  type Optimizer,
} from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

const f64 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor =>
  tensor(values, { dtype: "f64", shape });

/** Three steps of an optimizer on given gradients. */
async function steps(optimizer: Optimizer<unknown>, start: Tensor, gradients: readonly Tensor[]): Promise<number[]> {
  let params = { w: start };
  let state = optimizer.init(params);
  for (const w of gradients) [params, state] = await realize(optimizer.update(params, { w }, state));
  return [...(await params.w.data())];
}

/** The same on one number, as a textbook has it: `next(p, g, t, memory)` with t from 1. */
type Textbook = (p: number, g: number, t: number, memory: { m: number; v: number }) => number;
const byHand = (start: readonly number[], gradients: readonly (readonly number[])[], next: Textbook): number[] =>
  start.map((p, i) => {
    const memory = { m: 0, v: 0 };
    gradients.forEach((g, t) => (p = next(p, g[i], t + 1, memory)));
    return p;
  });

const adamDirection = (g: number, t: number, s: { m: number; v: number }): number => {
  s.m = 0.9 * s.m + 0.1 * g;
  s.v = 0.999 * s.v + 0.001 * g * g;
  return s.m / (1 - 0.9 ** t) / (Math.sqrt(s.v / (1 - 0.999 ** t)) + 1e-8);
};

const rate = (step: number): number => 0.1 / (step + 1);
const textbooks: Record<string, [Optimizer<unknown>, Textbook]> = {
  "gradient descent": [sgd({ learningRate: rate }), (p, g, t) => p - (0.1 / t) * g],
  "gradient descent with weight decay": [
    sgd({ learningRate: 0.1, weightDecay: 0.3 }),
    (p, g) => p - 0.1 * (g + 0.3 * p),
  ],
  momentum: [sgd({ learningRate: 0.1, momentum: 0.9 }), (p, g, _, s) => p - 0.1 * (s.m = 0.9 * s.m + g)],
  "Nesterov's momentum": [
    sgd({ learningRate: 0.1, momentum: 0.9, nesterov: true }),
    (p, g, _, s) => p - 0.1 * (g + 0.9 * (s.m = 0.9 * s.m + g)),
  ],
  Adam: [adam({ learningRate: rate }), (p, g, t, s) => p - (0.1 / t) * adamDirection(g, t, s)],
  "Adam with weight decay in the gradient": [
    adam({ learningRate: 0.1, weightDecay: 0.2 }),
    (p, g, t, s) => p - 0.1 * adamDirection(g + 0.2 * p, t, s),
  ],
  AdamW: [
    adamw({ learningRate: rate, weightDecay: 0.2 }),
    (p, g, t, s) => p - (0.1 / t) * (adamDirection(g, t, s) + 0.2 * p),
  ],
  Lion: [
    lion({ learningRate: rate, weightDecay: 0.2 }),
    (p, g, t, s) => {
      // The factors as they round: a sign next to 0 depends on it.
      const direction = Math.sign(0.9 * s.m + (1 - 0.9) * g);
      s.m = 0.99 * s.m + (1 - 0.99) * g;
      return p - (0.1 / t) * (direction + 0.2 * p);
    },
  ],
};

describe.each(Object.entries(textbooks))("%s", (_, [optimizer, textbook]) => {
  const three = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 3, maxLength: 3 });
  property.prop([three, fc.array(three, { minLength: 1, maxLength: 4 })], { numRuns: 20 })(
    "is its textbook formula on each number",
    async (start, gradients) => {
      const got = await steps(
        optimizer,
        f64(start),
        gradients.map((g) => f64(g)),
      );
      byHand(start, gradients, textbook).forEach((p, i) => expect(got[i]).toBeCloseTo(p, 10));
    },
  );
});

describe("Adafactor", () => {
  /** Algorithm 4 on a matrix, with sums as the paper has them. */
  function factored(p: number[][], gradients: readonly number[][][]): number[][] {
    const [n, m] = [p.length, p[0].length];
    let r = new Array<number>(n).fill(0);
    let c = new Array<number>(m).fill(0);
    gradients.forEach((g, i) => {
      const beta = 1 - (i + 1) ** -0.8;
      const sumOf = (xs: number[]): number => xs.reduce((a, b) => a + b, 0);
      r = r.map((old, y) => beta * old + (1 - beta) * sumOf(g[y].map((v) => v * v + 1e-30)));
      c = c.map((old, x) => beta * old + (1 - beta) * sumOf(g.map((line) => line[x] ** 2 + 1e-30)));
      const u = g.map((line, y) => line.map((v, x) => v / Math.sqrt((r[y] * c[x]) / sumOf(r))));
      const rms = (a: number[][]): number => Math.sqrt(sumOf(a.flat().map((v) => v * v)) / (n * m));
      const alpha = Math.max(1e-3, rms(p)) * Math.min(1e-2, 1 / Math.sqrt(i + 1));
      const limit = Math.max(1, rms(u));
      p = p.map((line, y) => line.map((v, x) => v - (alpha * u[y][x]) / limit));
    });
    return p;
  }
  const matrix = fc.array(fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 3, maxLength: 3 }), {
    minLength: 2,
    maxLength: 2,
  });

  property.prop([matrix, fc.array(matrix, { minLength: 1, maxLength: 4 })], { numRuns: 20 })(
    "is the paper's algorithm on matrices",
    async (start, gradients) => {
      const got = await steps(
        adafactor(),
        f64(start.flat(), [2, 3]),
        gradients.map((g) => f64(g.flat(), [2, 3])),
      );
      factored(start, gradients)
        .flat()
        .forEach((p, i) => expect(got[i]).toBeCloseTo(p, 10));
    },
  );

  test("keeps a row and a column of each matrix of a stack, and all of a vector", () => {
    const state = adafactor().init({ w: f64(new Array(24).fill(1), [2, 3, 4]), b: f64([1, 2]) });
    expect(treeLeaves(state).map((t) => t.shape)).toEqual([[2, 3], [2, 4], [2]]);
  });

  test("with a learning rate takes steps of that size", async () => {
    expect(await steps(adafactor({ learningRate: 0.5 }), f64([1, 2]), [f64([3, -4])])).toEqual([0.5, 2.5]);
  });
});

describe("every optimizer", () => {
  const all: Record<string, Optimizer<{ readonly step: number }>> = {
    sgd: sgd({ learningRate: 0.1, momentum: 0.9 }),
    adam: adam({ learningRate: 0.1 }),
    adamw: adamw({ learningRate: 0.1, weightDecay: 0.1 }),
    lion: lion({ learningRate: 0.1 }),
    adafactor: adafactor(),
  };
  const structure = (tree: unknown): unknown[] =>
    topologicalOrder(treeLeaves(tree).map((t) => t.node)).map((n) => [n.op, n.op === "map" ? n.attrs.fn : n.shape]);

  test.each(Object.entries(all))("%s writes the same graph at every step, numbers apart", async (_, optimizer) => {
    const params = {
      w: tensor([
        [1, 2],
        [3, 4],
      ]),
      b: tensor([1]),
    };
    const grads = {
      w: tensor([
        [1, 0],
        [0, 1],
      ]),
      b: tensor([2]),
    };
    const first = await realize(optimizer.update(params, grads, await realize(optimizer.init(params))));
    const second = optimizer.update(first[0], grads, first[1]);
    const later = await realize(optimizer.update(first[0], grads, first[1]));
    const third = optimizer.update(later[0], grads, later[1]);
    expect(structure(third)).toEqual(structure(second));
    expect(third[1].step).toBe(3);
  });

  test.each(Object.entries(all))("%s makes a quadratic smaller", async (_, optimizer) => {
    const loss = (p: { w: Tensor }): Tensor => p.w.sub(1).square().sum();
    let params = { w: tensor([3, -2]) };
    const before = await loss(params).item();
    let state = optimizer.init(params);
    for (let i = 0; i < 20; i++) [params, state] = await realize(optimizer.update(params, grad(loss)(params), state));
    expect(await loss(params).item()).toBeLessThan(before);
  });
});

describe("each", () => {
  const params = { w: tensor([1]), router: { bias: tensor([1]) }, step: tensor([1], { dtype: "i32" }) };
  const grads = { w: tensor([1]), router: { bias: tensor([1]) }, step: tensor([0], { dtype: "i32" }) };

  test("overrides learning rate and weight decay of one parameter, by path", async () => {
    const optimizer = sgd({
      learningRate: 0.5,
      weightDecay: 1,
      each: (path) => (path === "router.bias" ? { learningRate: (step) => 0.25 + step, weightDecay: 0 } : undefined),
    });
    const [next] = optimizer.update(params, grads, optimizer.init(params));
    expect([await next.w.item(), await next.router.bias.item()]).toEqual([0, 0.75]);
  });

  test("freezes a parameter, which is handed through and has no state", () => {
    const optimizer = adam({
      learningRate: 1,
      each: (path) => (path.startsWith("router") ? { frozen: true } : undefined),
    });
    const state = optimizer.init(params);
    expect(treeLeaves(state)).toHaveLength(2);
    const [next, after] = optimizer.update(params, grads, state);
    expect(next.router.bias).toBe(params.router.bias);
    expect(treeLeaves(after)).toHaveLength(2);
  });

  test("sees the parameter, so that vectors can go without weight decay", () => {
    const seen: string[] = [];
    adamw({ learningRate: 1, each: (path, t) => void seen.push(`${path}:${t.ndim}`) }).init(params);
    expect(seen).toEqual(["w:1", "router.bias:1", "step:1"]);
  });

  test("leaves that are not floats are handed through", () => {
    const optimizer = adam({ learningRate: 1 });
    expect(optimizer.update(params, grads, optimizer.init(params))[0].step).toBe(params.step);
  });

  test("a parameter that is frozen no longer starts afresh", async () => {
    const frozen = adam({ learningRate: 0.5, each: () => ({ frozen: true }) });
    const [next] = adam({ learningRate: 0.5 }).update(params, grads, frozen.init(params));
    expect(await next.w.item()).toBeCloseTo(0.5);
  });
});

test("a gradient that does not fit its parameter is a ShapeError with the path", () => {
  const optimizer = sgd({ learningRate: 1 });
  const params = { layer: { w: tensor([1, 2]) } };
  const update = (grads: typeof params) => () => optimizer.update(params, grads, optimizer.init(params));
  expect(update({ layer: { w: tensor([1]) } })).toThrow(ShapeError);
  expect(update({ layer: { w: tensor([1]) } })).toThrow("sgd: the gradient at layer.w must be f32[2], got f32[1]");
});

test("a learning rate that is no number is an error", () => {
  const optimizer = adam({ learningRate: () => Number.NaN });
  const params = { w: tensor([1]) };
  expect(() => optimizer.update(params, params, optimizer.init(params))).toThrow(
    "adam: the learning rate at step 0 is NaN",
  );
});

describe("schedules", () => {
  const at = (schedule: (step: number) => number, ...steps: number[]): number[] =>
    steps.map((s) => +schedule(s).toFixed(6));
  test("constant stays, linear goes straight and stops", () => {
    expect(at(constant(0.1), 0, 9)).toEqual([0.1, 0.1]);
    expect(at(linear({ from: 1, to: 0, steps: 4 }), 0, 1, 4, 9)).toEqual([1, 0.75, 0, 0]);
  });
  test("cosine falls from the peak to the floor", () => {
    expect(at(cosine({ peak: 1, floor: 0.2, steps: 10 }), 0, 5, 10, 20)).toEqual([1, 0.6, 0.2, 0.2]);
  });
  test("warmupCosine rises to the peak in the warm-up, never from zero, and falls over the rest", () => {
    const schedule = warmupCosine({ peak: 2, warmup: 4, steps: 14 });
    expect(at(schedule, 0, 1, 3, 4, 9, 14)).toEqual([0.5, 1, 2, 2, 1, 0]);
    expect(() => warmupCosine({ peak: 1, warmup: 10, steps: 10 })).toThrow(
      "warmup must be at least 0 and less than steps 10",
    );
  });
  test("inverseSqrt peaks at the end of its warm-up", () => {
    expect(at(inverseSqrt({ peak: 1, warmup: 4 }), 0, 3, 15)).toEqual([0.25, 1, 0.5]);
  });
});

describe("clipByGlobalNorm", () => {
  const grads = { a: tensor([3]), b: [tensor([0, 4])] };
  test("scales all gradients to the norm if theirs is larger", async () => {
    const clipped = clipByGlobalNorm(grads, 1);
    expect(await globalNorm(grads).item()).toBe(5);
    expect(await globalNorm(clipped).item()).toBeCloseTo(1, 6);
    expect((await clipped.a.item()) / (await clipped.b[0].data())[1]).toBeCloseTo(0.75, 6);
  });
  test("leaves smaller ones as they are, bit for bit", async () => {
    expect(await clipByGlobalNorm(grads, 7).b[0].toArray()).toEqual([0, 4]);
  });
  test("of a tree without floats is that tree, and its norm 0", async () => {
    const none = { step: 3, ids: tensor([1, 2], { dtype: "i32" }) };
    expect(await globalNorm(none).item()).toBe(0);
    expect(await clipByGlobalNorm(none, 1).ids.toArray()).toEqual([1, 2]);
  });
  test("of zeros are zeros", async () => {
    expect(await clipByGlobalNorm([tensor([0, 0])], 1)[0].toArray()).toEqual([0, 0]);
  });
});
