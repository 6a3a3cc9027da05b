import { checkGrads, grad, treeMap } from "@switchyard/autograd";
import { ConfigError, init, random, tensor, type Tensor } from "@switchyard/tensor";
import { dispatch, experts, makeRouting, type Activation, type ExpertsParams } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { expert, mean, randomTensor, rowsOf, type ExpertArrays, type Rows } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [D, H, E] = [3, 5, 4];
const activations: Activation[] = ["relu", "gelu", "silu", "swiglu"];
/** Every expert but number 1 has tokens. */
const r = makeRouting({
  experts: tensor([[3], [0], [2], [0], [3]], { dtype: "i32", device: "cpu" }),
  weights: randomTensor(1, [5, 1]),
  expertCount: E,
  mask: tensor([true, true, true, true, false], { device: "cpu" }),
});
const x = randomTensor(2, [5, D]);

/** Parameters with random numbers everywhere, biases too. */
const paramsOf = (activation: Activation, bias = true): ExpertsParams => ({
  w1: randomTensor(3, [E, D, H]),
  w2: randomTensor(4, [E, H, D]),
  ...(bias && { b1: randomTensor(5, [E, H]), b2: randomTensor(6, [E, D]) }),
  ...(activation === "swiglu" && { w3: randomTensor(7, [E, D, H]) }),
});
const arraysOf = async (p: ExpertsParams): Promise<ExpertArrays> =>
  Object.fromEntries(
    await Promise.all(Object.entries(p).map(async ([name, t]) => [name, await (t as Tensor).toArray()])),
  );

const close = (got: Rows, wanted: Rows): void =>
  wanted.forEach((row, i) => row.forEach((v, j) => expect(got[i][j]).toBeCloseTo(v, 10)));

describe("experts", () => {
  for (const activation of activations)
    for (const bias of [true, false])
      test(`each row goes through its own expert: ${activation}, ${bias ? "with" : "without"} bias`, async () => {
        const p = paramsOf(activation, bias);
        const arrays = await arraysOf(p);
        const networks = experts({ dim: D, hidden: H, experts: E, activation, bias });
        const rows = await rowsOf(dispatch(x, r));
        const of = await r.slots.expert.data();
        close(
          await rowsOf(networks.apply(p, dispatch(x, r), r)),
          rows.map((row, slot) => (of[slot] < E ? expert(arrays, of[slot], row, activation) : row.map(() => 0))),
        );
        const all = (await networks.applyAll(p, x).toArray()) as Rows[];
        const tokens = await rowsOf(x);
        all.forEach((got, e) =>
          close(
            got,
            tokens.map((token) => expert(arrays, e, token, activation)),
          ),
        );
      });

  test("slots that no expert sees come out exactly zero and give no bias a gradient", async () => {
    const networks = experts({ dim: D, hidden: H, experts: E });
    const rows = await rowsOf(networks.apply(paramsOf("relu"), randomTensor(8, [5, D]), r));
    expect(rows[4]).toEqual([0, 0, 0]);
    const p = paramsOf("relu");
    const g = grad((p: ExpertsParams) => networks.apply(p, dispatch(x, r), r).slice([4]).sum())(p);
    for (const t of Object.values(g) as Tensor[]) expect([...(await t.data())].every((v) => v === 0)).toBe(true);
  });

  test("gradients are those of finite differences, to second order", async () => {
    for (const activation of ["silu", "swiglu"] as const) {
      const networks = experts({ dim: D, hidden: H, experts: E, activation });
      await checkGrads(
        (p: ExpertsParams, rows: Tensor) => networks.apply(p, rows, r).square().sum(),
        [paramsOf(activation), dispatch(x, r)],
      );
    }
  });

  test("weights start with standard deviation 1 / sqrt(fan in), biases at zero", async () => {
    const p = experts({ dim: 64, hidden: 16, experts: 8, activation: "swiglu" }).init(random.key(0));
    const deviation = async (t: Tensor): Promise<number> => Math.sqrt(mean([...(await t.data())].map((v) => v * v)));
    expect(await deviation(p.w1)).toBeCloseTo(1 / 8, 2);
    expect(await deviation(p.w3!)).toBeCloseTo(1 / 8, 2);
    expect(await deviation(p.w2)).toBeCloseTo(1 / 4, 2);
    expect([...(await p.b1!.data()), ...(await p.b2!.data())].every((v) => v === 0)).toBe(true);
  });

  test("a key decides the weights, and no two experts or matrices start alike", async () => {
    const networks = experts({ dim: 4, hidden: 4, experts: 2, activation: "swiglu" });
    const start = (seed: number) => networks.init(random.key(seed));
    expect(await start(1).w1.data()).toEqual(await start(1).w1.data());
    expect(await start(1).w1.data()).not.toEqual(await start(2).w1.data());
    expect(await start(1).w1.data()).not.toEqual(await start(1).w3!.data());
    const [first, second] = (await start(1).w1.toArray()) as Rows[];
    expect(first).not.toEqual(second);
  });

  test("the parameters are those that the options call for, of the shapes they promise", () => {
    const shapes = (activation: Activation, bias: boolean) =>
      treeMap((t) => [...t.shape], experts({ dim: D, hidden: H, experts: E, activation, bias }).init(random.key(0)));
    expect(shapes("gelu", false)).toEqual({ w1: [E, D, H], w2: [E, H, D] });
    expect(shapes("swiglu", true)).toEqual({ w1: [E, D, H], b1: [E, H], w2: [E, H, D], b2: [E, D], w3: [E, D, H] });
  });

  test("options are checked", () => {
    const tanh = { dim: 1, hidden: 1, experts: 1, activation: "tanh" as "relu" };
    expect(() => experts(tanh)).toThrow(ConfigError);
    expect(() => experts(tanh)).toThrow(/activation must be one of "relu", "gelu", "silu", "swiglu", got tanh/);
    expect(() => experts({ dim: 0, hidden: 1, experts: 1 })).toThrow("experts: dim must be a positive integer, got 0");
  });
});
