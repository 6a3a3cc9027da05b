import { adam, valueAndGrad } from "@switchyard/autograd";
import { arange, init, random, tensor, zeros } from "@switchyard/tensor";
import { hashRouter, moe, randomRouter } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor, rowsOf } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("hashRouter", () => {
  const ids = (...list: number[]) => tensor(list, { dtype: "i32" });
  const route = (tokenIds: ReturnType<typeof ids>, options = {}, experts = 8) =>
    hashRouter(options).route({ experts }, zeros([tokenIds.size, 2]), { tokenIds });

  test("an id always meets the same experts, whatever else is in the batch", async () => {
    const [a, b] = [route(ids(5, 9, 5, 1000), { k: 2 }), route(ids(1000, 5), { k: 2 })];
    const [x, y] = [await rowsOf(a.experts), await rowsOf(b.experts)];
    expect(x[0]).toEqual(x[2]);
    expect([y[1], y[0]]).toEqual([x[0], x[3]]);
    expect(await rowsOf(a.weights)).toEqual(new Array(4).fill([0.5, 0.5]));
  });

  test("spreads many ids evenly: within five deviations of chance", async () => {
    const n = 8000;
    const counts = [...(await route(arange(n).cast("i32")).counts.data())];
    for (const c of counts) expect(Math.abs(c - n / 8)).toBeLessThan(5 * Math.sqrt(n * (1 / 8) * (7 / 8)));
  });

  test("another seed is another hash; one expert more moves few ids", async () => {
    const many = arange(1000).cast("i32");
    const moved = async (other: ReturnType<typeof route>) => {
      const [a, b] = [await rowsOf(route(many).experts), await rowsOf(other.experts)];
      return a.filter((row, i) => row[0] !== b[i][0]).length / a.length;
    };
    expect(await moved(route(many, { seed: 1 }))).toBeGreaterThan(0.8);
    expect(await moved(route(many, {}, 9))).toBeLessThan(0.2);
  });
});

describe("randomRouter", () => {
  test("draws by the key in training, and always the same in evaluation", async () => {
    const router = randomRouter({ k: 2 });
    const x = zeros([500, 2]);
    const drawn = async (options: object) => rowsOf(router.route({ experts: 8 }, x, options).experts);
    expect(await drawn({})).toEqual(await drawn({}));
    const first = await drawn({ train: true, key: random.key(1) });
    expect(first).toEqual(await drawn({ train: true, key: random.key(1) }));
    expect(first).not.toEqual(await drawn({ train: true, key: random.key(2) }));
    const counts = new Array<number>(8).fill(0);
    for (const e of first.flat()) counts[e]++;
    for (const c of counts) expect(Math.abs(c - 125)).toBeLessThan(5 * Math.sqrt(125));
  });
});

test.each([hashRouter(), randomRouter()])(
  "a router that learns nothing trains in a layer as any other",
  async (router) => {
    const layer = moe({ dim: 3, hidden: 4, experts: 4, router });
    const params = layer.init(random.key(0));
    const x = randomTensor(1, [6, 3]).cast("f32");
    const optimizer = adam({ learningRate: 0.1 });
    const tokenIds = arange(6).cast("i32");
    const [, grads] = valueAndGrad((p: typeof params) =>
      layer
        .apply(p, x, { train: true, key: random.key(1), tokenIds })
        .output.square()
        .sum(),
    )(params);
    const [next] = optimizer.update(params, grads, optimizer.init(params));
    expect(next.router).toEqual({ experts: 4 });
    expect(await next.experts.w1.sub(params.experts.w1).abs().max().item()).toBeGreaterThan(0.05);
  },
);
