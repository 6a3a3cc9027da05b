import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { leafStorage, valueNode } from "../../src/runtime/leaves.ts";
import { topologicalOrder, type AnyNode } from "../../src/node.ts";
import { createScheduler } from "../../src/schedule/schedule.ts";
import { referenceBackend } from "../../src/backend/reference/backend.ts";
import type { TypedArray } from "../../src/types.ts";
import { apply } from "../../src/apply.ts";
import type { Storage } from "../../src/runtime/storage.ts";
import { concat, tensor, type Tensor } from "../../src/index.ts";
import { build, steps } from "./randomGraph.ts";
import { interpret } from "./interpreter.ts";

const runs = process.env.SWITCHYARD_DEEP ? 3000 : 300;
const backend = referenceBackend();

/** Uploads the leaves a graph needs, as the runtime does before a run. */
function placeLeaves(roots: readonly AnyNode[]): void {
  for (const node of topologicalOrder(roots)) {
    const storage = leafStorage(node);
    if (storage?.host) storage.attach(backend.upload(storage.host, storage.dtype), backend);
  }
}

async function reference(roots: readonly AnyNode[]): Promise<TypedArray[]> {
  const { allocations } = backend.run({ roots, donated: new Set() });
  return Promise.all(roots.map((root, i) => backend.read(allocations[i], root.dtype, 0)));
}

interface Options {
  readonly fuse?: boolean;
  readonly maxBuffers?: number;
  readonly donated?: ReadonlySet<Storage>;
}

async function planned(
  roots: readonly AnyNode[],
  { fuse, maxBuffers, donated = new Set() }: Options = {},
): Promise<TypedArray[]> {
  const { plan, leaves, numbers } = createScheduler({ fuse, maxBuffers })({ roots, donated });
  const data = await Promise.all(leaves.map((leaf) => backend.read(leaf.allocation!, leaf.dtype, 0)));
  return interpret(plan, data, [...numbers]);
}

const close = (a: TypedArray, b: TypedArray): boolean =>
  a.length === b.length &&
  [...a].every((x, i) => Object.is(x, b[i]) || x === b[i] || Math.abs(x - b[i]) <= 1e-4 * (1 + Math.abs(b[i])));

describe("a plan means what its graph means", () => {
  for (const [name, options] of [
    ["unfused", { fuse: false }],
    ["fused", {}],
    ["fused in kernels of few buffers", { maxBuffers: 5 }],
  ] as const) {
    test(`${name}, it computes what the reference computes on random graphs, over donated leaves too`, async () => {
      await fc.assert(
        fc.asyncProperty(steps(24), fc.nat(1000), fc.nat(3), fc.nat(31), async (program, seed, extra, donate) => {
          const made = build(program, seed);
          const roots = [made[made.length - 1], ...made.slice(5, 5 + extra)].map((t) => valueNode(t.node));
          const leaves = made.slice(0, 5).map((t) => leafStorage(t.node)!);
          placeLeaves(roots);
          const expected = await reference(roots);
          const donated = new Set(leaves.filter((_, i) => (donate >> i) & 1));
          const got = await planned(roots, { ...options, donated });
          got.forEach((g, i) =>
            expect(close(g, expected[i]), `root ${i}: ${[...g].join()} is not ${[...expected[i]].join()}`).toBe(true),
          );
        }),
        { numRuns: runs },
      );
    });
  }
});

test("a sum of more values than a kernel may read is cut into sums as long as may be, whatever views the values are seen through", async () => {
  const terms = Array.from({ length: 40 }, (_, i) =>
    tensor(
      [
        [i, 1],
        [2, i * i],
        [0, 3],
      ],
      { device: "cpu" },
    ),
  );
  const sum = terms.map((t) => t.transpose()).reduceRight((rest, t) => t.add(rest));
  const roots = [valueNode(sum.node)];
  placeLeaves(roots);
  expect(await planned(roots)).toEqual(await reference(roots));
  const { plan } = createScheduler()({ roots, donated: new Set() });
  expect(plan.kernels.length).toBe(3);
});

test("parts that are joined over a donated leaf do not spoil what a later part reads of it", async () => {
  const leaf = tensor([1, 2, 3, 4, 5, 6], { device: "cpu" });
  const [nines, eights] = [9, 8].map((x) => tensor([x, x], { device: "cpu" }));
  const roots = [concat([nines, leaf.slice([0, 2]), eights]).node];
  placeLeaves(roots);
  const [joined] = await planned(roots, { donated: new Set([leafStorage(leaf.node)!]) });
  expect([...joined]).toEqual([9, 9, 1, 2, 8, 8]);
});

test("a chain of any length is planned without running out of stack", async () => {
  const links: ((x: Tensor) => Tensor)[] = [
    (x) => x.transpose(),
    (x) => x.flip(0),
    (x) => x.reshape([4]).reshape([2, 2]),
    (x) => x.add(0),
    (x) => x.stopGradient(),
  ];
  for (const link of links) {
    let x: Tensor = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { device: "cpu" },
    );
    for (let i = 0; i < 10_000; i++) x = link(x);
    const roots = [valueNode(x.node)];
    placeLeaves(roots);
    expect(await planned(roots)).toEqual(await reference(roots));
  }
});

test("kernels of too many buffers are all cut in a few turns, however many there are", () => {
  const leaves = Array.from({ length: 20 }, (_, i) => tensor([i, 1], { device: "cpu" }));
  const sums = Array.from({ length: 500 }, (_, i) => leaves.reduce((sum, leaf) => sum.add(leaf.mul(i)) as typeof leaf));
  const began = performance.now();
  createScheduler()({ roots: sums.map((sum) => sum.tanh().node), donated: new Set() });
  expect(performance.now() - began).toBeLessThan(10_000);
});

test("what comes after a view of a value is computed after the value", () => {
  const x = tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { device: "cpu" },
  );
  const product = x.matmul(x);
  const later = apply("after", [x, product.transpose()], {}).add(2);
  const roots = [x.add(1), product, later].map((t) => t.node);
  const { plan } = createScheduler()({ roots, donated: new Set() });
  const names = plan.kernels.map((kernel) => kernel.name);
  expect(names).toEqual(["add", "matmul", "add"]);
});

const leafOf = (shape: readonly number[]): Tensor =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), { shape, device: "cpu" });

const kernelNames = (tensors: readonly Tensor[]): string[] => {
  const { plan } = createScheduler()({ roots: tensors.map((t) => t.node), donated: new Set() });
  return plan.kernels.map((kernel) => kernel.name);
};

test("reductions of the same columns are one kernel, unless one needs another", () => {
  const [x, y] = [leafOf([64, 8]), leafOf([64, 8])];
  expect(kernelNames([x.sum(0), x.mul(y).sum(0), y.max(0)]).length).toBe(1);
  expect(kernelNames([x.sum(0), x.mul(y).sum(1)]).length).toBe(2);
  const mean = x.mean(0, { keepDims: true });
  expect(kernelNames([x.sub(mean).square().sum(0)]).length).toBe(2);
});

test("what is costly only once per row is written out again, and the whole is not stored", () => {
  const x = leafOf([64, 32]);
  const perRow = x.sum(-1, { keepDims: true });
  const unit = x.mul(perRow.exp().add(1).log().sqrt());
  const { plan } = createScheduler()({ roots: [unit.sum(0), unit.mul(2)].map((t) => t.node), donated: new Set() });
  const temporaries = plan.buffers.filter(({ source }) => source.kind === "temporary");
  expect(temporaries.every(({ size }) => size <= 64)).toBe(true);
});
