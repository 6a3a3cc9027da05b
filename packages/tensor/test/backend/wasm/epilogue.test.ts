import { afterAll, expect, test } from "vitest";
import { arange, groupedMatmul, matmul, pad, tensor, where, type Tensor } from "../../../src/index.ts";
import { createScheduler } from "../../../src/schedule/schedule.ts";
import type { Plan } from "../../../src/schedule/plan.ts";
import { fuseEpilogue } from "../../../src/backend/wasm/loops/epilogue.ts";
import { randoms } from "./kernels/harness.ts";
import { startRunner } from "./planHarness.ts";

const runners = [0, 1, 2, 4].map(startRunner);
afterAll(() => Promise.all(runners.map((runner) => runner.stop())));

const array = (...shape: number[]): Tensor =>
  tensor(randoms(shape.reduce((a, b) => a * b, 1)), { shape, device: "cpu" });
const offsets = (...at: number[]): Tensor => tensor(Int32Array.from(at), { shape: [at.length], device: "cpu" });

/** Products with what follows them in training, and whether it all fits into the product's kernel. */
const programs: Record<string, { roots: () => Tensor[]; inside: boolean }> = {
  "a bias, an activation and what its gradient needs": {
    roots() {
      const x = matmul(array(70, 40), array(40, 150)).add(array(150));
      return [x, x.sigmoid(), x.mul(x.sigmoid())];
    },
    inside: true,
  },
  "a residual and a number": {
    roots: () => [array(30, 20).add(matmul(array(30, 300), array(300, 20)).mul(0.3))],
    inside: true,
  },
  "a factor for each row, seen transposed": {
    roots: () => [matmul(array(33, 50), array(50, 70)).mul(array(33).expandDims(1)).mul(array(70, 33).transpose())],
    inside: true,
  },
  "a mask and another dtype": {
    roots() {
      const x = matmul(array(20, 30), array(30, 41));
      return [where(x.gt(0), x, 0), x.gt(0), x.mul(100).cast("i32")];
    },
    inside: true,
  },
  "batches, a factor for each and positions": {
    roots() {
      const x = matmul(array(2, 3, 20, 30), array(2, 3, 30, 70));
      return [x.mul(array(3, 1, 1)).add(arange(0, 70, 1, { device: "cpu", dtype: "f32" }))];
    },
    inside: true,
  },
  "rows chosen by an index": {
    roots: () => [
      matmul(array(20, 30), array(30, 40)).add(
        array(9, 40).gather(offsets(...Array.from({ length: 20 }, (_, i) => (i * 7) % 11)), 0),
      ),
    ],
    inside: true,
  },
  padding: {
    roots: () => [
      matmul(array(20, 30), array(30, 40)).add(
        pad(array(18, 40), [
          [1, 1],
          [0, 0],
        ]),
      ),
    ],
    inside: false,
  },
  "groups of rows, with rows past the last": {
    roots() {
      const x = groupedMatmul(array(300, 40), array(5, 40, 70), offsets(0, 0, 3, 120, 250, 290));
      return [x.sigmoid().mul(array(300, 70)).mul(array(300).expandDims(1))];
    },
    inside: true,
  },
  "a group's gradient": {
    roots: () => [
      array(3, 40, 70).sub(
        groupedMatmul(array(90, 40), array(90, 70), offsets(0, 50, 50, 80), { mode: "contract" }).mul(0.1),
      ),
    ],
    inside: true,
  },
  "a sliver": { roots: () => [matmul(array(3, 90), array(90, 140)).add(array(140)).tanh()], inside: true },
  f64: {
    roots: () => [matmul(array(9, 8).cast("f64"), array(8, 7).cast("f64")).add(1)],
    inside: false,
  },
};

function planOf(roots: readonly Tensor[], fuse: boolean) {
  const { plan, leaves, numbers } = createScheduler({ fuse })({ roots: roots.map((t) => t.node), donated: new Set() });
  return { plan, leaves: leaves.map((leaf) => leaf.host!), numbers };
}

const products = (plan: Plan) => plan.kernels.filter((k) => k.kind === "routine");

test.each(Object.entries(programs))(
  "%s: an epilogue inside a product's kernel gives the bits of one after it, for any number of threads",
  async (_, { roots, inside }) => {
    const tensors = roots();
    const [fused, apart] = [true, false].map((fuse) => planOf(tensors, fuse));
    expect(products(fused.plan).map((kernel) => fuseEpilogue(kernel) !== undefined)).toEqual([inside]);
    const wanted = await runners[0].run(apart.plan, apart.leaves, apart.numbers);
    for (const runner of runners) expect(await runner.run(fused.plan, fused.leaves, fused.numbers)).toEqual(wanted);
  },
);
