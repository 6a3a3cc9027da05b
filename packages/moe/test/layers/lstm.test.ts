import { init, random, ShapeError, zeros, type Tensor } from "@switchyard/tensor";
import { checkGrads } from "@switchyard/autograd";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { lstm, type LstmParams } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, randomTensor, rowsOf } from "../oracle.ts";

beforeAll(() => init("cpu"));

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const paramsOf = (width: number, hidden: number): LstmParams => ({
  input: randomTensor(1, [width, 4 * hidden]),
  hidden: randomTensor(2, [hidden, 4 * hidden]),
  bias: randomTensor(3, [4 * hidden]),
});

async function oracle(params: LstmParams, x: number[][], hidden: number): Promise<number[][]> {
  const [input, recurrent, bias] = [await rowsOf(params.input), await rowsOf(params.hidden), await params.bias.data()];
  let [h, c] = [new Array<number>(hidden).fill(0), new Array<number>(hidden).fill(0)];
  return x.map((row) => {
    const [[fromInput], [fromState]] = [matmul([row], input), matmul([h], recurrent)];
    const gate = (which: number, j: number) =>
      fromInput[which * hidden + j] + fromState[which * hidden + j] + bias[which * hidden + j];
    c = c.map((old, j) => sigmoid(gate(1, j)) * old + sigmoid(gate(0, j)) * Math.tanh(gate(2, j)));
    h = c.map((memory, j) => sigmoid(gate(3, j)) * Math.tanh(memory));
    return h;
  });
}

describe("lstm", () => {
  test("is what the loop over time says", async () => {
    const params = paramsOf(3, 2);
    const x = randomTensor(4, [2, 5, 3]);
    const got = lstm({ in: 3, hidden: 2 }).apply(params, x);
    expect(got.shape).toEqual([2, 5, 2]);
    for (let b = 0; b < 2; b++) {
      const wanted = await oracle(params, await rowsOf(x.slice(b)), 2);
      for (const [s, row] of (await rowsOf(got.slice(b))).entries())
        for (const [j, y] of row.entries()) expect(y).toBeCloseTo(wanted[s][j], 12);
    }
  });

  test("a sequence in parts is the sequence", async () => {
    const layer = lstm({ in: 3, hidden: 2 });
    const params = paramsOf(3, 2);
    const x = randomTensor(4, [2, 5, 3]);
    const nothing = zeros([2, 2], { dtype: "f64", device: "cpu" });
    const first = layer.step(params, x.slice([], [0, 2]), { h: nothing, c: nothing });
    const rest = layer.step(params, x.slice([], [2]), first.state);
    expect(await rest.output.toArray()).toEqual(await layer.apply(params, x).slice([], [2]).toArray());
  });

  test("its gradient passes the check", () => {
    const layer = lstm({ in: 2, hidden: 2 });
    return checkGrads(
      (p: LstmParams, x: Tensor) => layer.apply(p, x).square().sum(),
      [paramsOf(2, 2), randomTensor(4, [1, 3, 2])],
    );
  });

  test("all steps share one product with the input weights", () => {
    const y = lstm({ in: 3, hidden: 2 }).apply(paramsOf(3, 2), randomTensor(4, [2, 8, 3]));
    const products = topologicalOrder([y.node]).filter((node) => node.op === "matmul");
    expect(products.length).toBe(1 + 8);
  });

  test("the forget gate starts open", async () => {
    const { bias } = lstm({ in: 3, hidden: 2 }).init(random.key(0));
    expect([...(await bias.data())]).toEqual([0, 0, 1, 1, 0, 0, 0, 0]);
  });

  test("a sequence without steps, or no sequence at all, is a ShapeError", () => {
    const layer = lstm({ in: 3, hidden: 2 });
    expect(() => layer.apply(paramsOf(3, 2), randomTensor(1, [2, 0, 3]))).toThrow(ShapeError);
    expect(() => layer.apply(paramsOf(3, 2), randomTensor(1, [2, 3]))).toThrow(ShapeError);
  });
});
