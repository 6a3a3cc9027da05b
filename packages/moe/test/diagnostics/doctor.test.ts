import { init, ones, random, softmax, tensor, type Tensor } from "@switchyard/tensor";
import {
  doctor,
  expertChoice,
  gshardTop2,
  makeRouting,
  noisyTopK,
  randomRouter,
  softmaxTopK,
  switchTop1,
  withCapacity,
  type Ailment,
  type Routing,
} from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, E] = [400, 6, 8];
const x = randomTensor(1, [T, D]);
const gate = randomTensor(2, [D, E]).mul(0.5);
const healthy = () => softmaxTopK({ k: 2 }).route({ gate }, x);
/** A gate that favours some experts for every token. */
const favouring = (...experts: number[]): Tensor =>
  tensor([Array.from({ length: E }, (_, e) => (experts.includes(e) ? 5 : 0))], { dtype: "f64" });
const withOffset = (offset: Tensor): Routing => {
  const logits = x.matmul(gate).add(offset);
  const experts = logits.topK(2).indices;
  return makeRouting({ experts, weights: logits.gather(experts, 1, { batch: 1 }), logits });
};
const ailments = async (...routings: Routing[]): Promise<Ailment[]> =>
  (await doctor({ routings })).map(({ ailment }) => ailment);

describe("doctor", () => {
  test("finds nothing wrong with routings that are well", async () => {
    const learned = healthy();
    const drawn = randomRouter({ k: 2 }).route({ experts: E }, x);
    const byExperts = expertChoice({ capacityFactor: 2 }).route({ gate }, x);
    const second = gshardTop2().route({ gate }, x);
    expect(await doctor({ routings: [learned, drawn, byExperts, second] })).toEqual([]);
  });

  test("calls nothing a collapse that a few tokens may do by chance", async () => {
    const few = (count: number): Promise<Ailment[]> =>
      ailments(switchTop1().route({ gate: tensor([[9, 0]], { dtype: "f64" }) }, ones([count, 1], { dtype: "f64" })));
    expect(await few(2)).not.toContain("collapse");
    expect(await few(20)).toContain("collapse");
  });

  test.each<[Ailment, () => Routing, RegExp]>([
    [
      "non-finite values",
      () => withOffset(favouring().add(tensor([[NaN, 0, 0, 0, 0, 0, 0, 0]], { dtype: "f64" }))),
      /^400 router logits are not finite, the first NaN at token 0, expert 0$/,
    ],
    [
      "collapse",
      () => withOffset(favouring(2, 5).mul(10)),
      /nearly all tokens go to the same 2: as uneven as 2\.0 of 8 experts/,
    ],
    [
      "dead experts",
      () => withOffset(favouring(0, 1, 2, 3).mul(20)),
      /^4 of 8 experts got none of 400 tokens: 4, 5, 6, 7$/,
    ],
    [
      "imbalance",
      () => withOffset(favouring(0, 1, 2).mul(0.6)),
      /^the load has a CV of \d\.\d\d, where chance alone makes 0\.09/,
    ],
    [
      "top-1 without gradient",
      () => softmaxTopK({ k: 1, renormalize: true }).route({ gate }, x),
      /its weight is always 1/,
    ],
    [
      "double softmax",
      () => {
        const { experts, weights, logits } = healthy();
        return makeRouting({ experts, weights, logits: softmax(logits) });
      },
      /are probabilities already/,
    ],
    [
      "ties",
      () => noisyTopK({ k: 2 }).route(noisyTopK({ k: 2 }).init(random.key(0), { dim: D, experts: E }), x.cast("f32")),
      /^100 % of the tokens have tied logits/,
    ],
    [
      "saturation",
      () => softmaxTopK({ k: 2 }).route({ gate: gate.mul(100) }, x),
      /one expert has a probability above 0\.9999/,
    ],
    ["dropped tokens", () => withCapacity(healthy(), { capacityFactor: 0.5 }), /^5\d % of the pairs were not sent/],
  ])("names %s, with numbers and a remedy", async (ailment, make, says) => {
    const findings = await doctor({ routings: [healthy(), make()] });
    const found = findings.find((finding) => finding.ailment === ailment);
    expect(found).toMatchObject({ layer: 1 });
    expect(found!.says).toMatch(says);
    expect(found!.remedy.length).toBeGreaterThan(20);
    expect(findings.every(({ layer }) => layer === 1)).toBe(true);
  });

  test("names layers that are uneven in opposite directions", async () => {
    const [low, high] = [withOffset(favouring(0, 1, 2, 3)), withOffset(favouring(4, 5, 6, 7))];
    expect(await ailments(low, high)).toContain("layers that cancel");
    expect(await ailments(low, low)).not.toContain("layers that cancel");
  });

  test("a weight that is the probability is no top-1 without gradient, nor is one expert", async () => {
    expect(await ailments(switchTop1().route({ gate }, x))).not.toContain("top-1 without gradient");
    const one = { gate: gate.slice([], [0, 1]) };
    expect(await ailments(softmaxTopK({ k: 1, renormalize: true }).route(one, x))).toEqual([]);
  });

  test("an expert that a small batch misses by chance is not dead", async () => {
    const few = softmaxTopK({ k: 1, renormalize: false }).route({ gate }, x.slice([0, 4]));
    expect(await ailments(few)).not.toContain("dead experts");
  });

  test("padding counts for nothing", async () => {
    const mask = tensor(Array.from({ length: T }, (_, t) => t < 200));
    const spoilt = x.add(
      tensor(
        Array.from({ length: T }, (_, t) => [t < 200 ? 0 : NaN]),
        { dtype: "f64" },
      ),
    );
    expect(await doctor({ routings: [softmaxTopK({ k: 2 }).route({ gate }, spoilt, { mask })] })).toEqual([]);
    const none = softmaxTopK({ k: 2 }).route({ gate }, x, { mask: mask.and(mask.not()) });
    expect(await doctor({ routings: [none] })).toEqual([]);
  });

  test("takes a routing, what has routings, a report or a run", async () => {
    const bad = softmaxTopK({ k: 1, renormalize: true }).route({ gate }, x);
    const aux = { loss: 1, routings: [bad] };
    const wanted = await doctor({ routings: [bad] });
    expect(wanted.length).toBeGreaterThan(0);
    for (const patient of [bad, { routing: bad }, { step: 3, aux }, { finish: () => Promise.resolve({ aux }) }])
      expect(await doctor(patient)).toEqual(wanted);
  });

  test("needs something to look at", async () => {
    for (const nothing of [{ routings: [] }, {}, "runs/a", undefined])
      await expect(doctor(nothing as never)).rejects.toThrow("doctor: needs a routing to look at; pass one");
  });
});
