import { init, random } from "@switchyard/tensor";
import { softmaxTopK, switchTop1 } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, randomTensor, rowsOf, softmax } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("switchTop1", () => {
  const params = { gate: randomTensor(1, [3, 4]) };
  const x = randomTensor(2, [6, 3]);

  test("the most probable expert, weighed by its probability", async () => {
    const { experts, weights } = switchTop1().route(params, x);
    const probs = matmul(await rowsOf(x), await rowsOf(params.gate)).map(softmax);
    const best = probs.map((row) => row.indexOf(Math.max(...row)));
    expect(await rowsOf(experts)).toEqual(best.map((e) => [e]));
    (await rowsOf(weights)).forEach(([w], t) => expect(w).toBeCloseTo(probs[t][best[t]], 12));
  });

  test("in training its input is jittered by 1 % unless told otherwise", async () => {
    const options = { train: true, key: random.key(1) };
    const jittered = softmaxTopK({ k: 1, renormalize: false, jitter: 1e-2 }).route(params, x, options);
    expect(await rowsOf(switchTop1().route(params, x, options).logits)).toEqual(await rowsOf(jittered.logits));
    const calm = switchTop1({ jitter: 0 }).route(params, x, { train: true });
    expect(await rowsOf(calm.logits)).toEqual(await rowsOf(switchTop1().route(params, x).logits));
  });
});
