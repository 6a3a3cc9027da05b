import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { leafStorage, valueNode } from "../../src/runtime/leaves.ts";
import type { AnyNode } from "../../src/node.ts";
import { createScheduler } from "../../src/schedule/schedule.ts";
import { referenceBackend } from "../../src/backend/reference/backend.ts";
import type { TypedArray } from "../../src/types.ts";
import { tensor } from "../../src/index.ts";
import { build, steps } from "./randomGraph.ts";
import { interpret } from "./interpreter.ts";

const runs = process.env.SWITCHYARD_DEEP ? 3000 : 300;
const backend = referenceBackend();

/** Uploads the leaves a graph needs, as the runtime does before a run. */
function placeLeaves(roots: readonly AnyNode[]): void {
  const seen = new Set<AnyNode>();
  const visit = (node: AnyNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    const storage = leafStorage(node);
    if (storage?.host) storage.attach(backend.upload(storage.host, storage.dtype), () => {});
    node.inputs.forEach(visit);
  };
  roots.forEach(visit);
}

async function reference(roots: readonly AnyNode[]): Promise<TypedArray[]> {
  const { allocations } = backend.run({ roots, donated: new Set() });
  return Promise.all(roots.map((root, i) => backend.read(allocations[i], root.dtype, 0)));
}

async function planned(roots: readonly AnyNode[], fuse: boolean, maxBuffers = 16): Promise<TypedArray[]> {
  const { plan, leaves, numbers } = createScheduler({ fuse, maxBuffers })({ roots, donated: new Set() });
  const data = await Promise.all(leaves.map((leaf) => backend.read(leaf.allocation!, leaf.dtype, 0)));
  return interpret(plan, data, [...numbers]);
}

const close = (a: TypedArray, b: TypedArray): boolean =>
  a.length === b.length &&
  [...a].every((x, i) => Object.is(x, b[i]) || x === b[i] || Math.abs(x - b[i]) <= 1e-4 * (1 + Math.abs(b[i])));

describe("a plan means what its graph means", () => {
  for (const [name, fuse, maxBuffers] of [
    ["unfused", false, 16],
    ["fused", true, 16],
    ["fused in kernels of few buffers", true, 5],
  ] as const) {
    test(`${name}, it computes what the reference computes on random graphs`, async () => {
      await fc.assert(
        fc.asyncProperty(steps(24), fc.nat(1000), fc.nat(3), async (program, seed, extra) => {
          const made = build(program, seed);
          const wanted = [made[made.length - 1], ...made.slice(5, 5 + extra)]
            .map((t) => valueNode(t.node))
            .filter((n) => !leafStorage(n));
          const roots = [...new Set(wanted)];
          if (roots.length === 0) return;
          placeLeaves(roots);
          const expected = await reference(roots);
          const got = await planned(roots, fuse, maxBuffers);
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
  expect(await planned(roots, true)).toEqual(await reference(roots));
  const { plan } = createScheduler()({ roots, donated: new Set() });
  expect(plan.kernels.length).toBe(3);
});
