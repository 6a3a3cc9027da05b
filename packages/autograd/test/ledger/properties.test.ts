import { test as property } from "@fast-check/vitest";
import { init, tensor, type Tensor } from "@switchyard/tensor";
import { grad, ledger, type Ledger, type LedgerEntry } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";
import { numRuns, paramsOf, programs, read, run, type Params } from "./randomProgram.ts";

await init("cpu");

/** How far `values` are from `expected`, by the sum of the parts' norms. */
const relativeError = (values: ArrayLike<number>, expected: ArrayLike<number>, { parts }: LedgerEntry): number =>
  Math.hypot(...Array.from(values, (x, i) => x - expected[i])) / parts.reduce((sum, part) => sum + part.norm, 1e-300);

describe.each([
  ["f64", 1e-12],
  ["f32", 1e-5],
] as const)("on random programs in %s", (dtype, tolerance) => {
  property.prop([programs], { numRuns })("the parts add up to the gradient", async (steps) => {
    const f = run(steps);
    const book = await ledger(f)(paramsOf(dtype), { marks: ["m0", "m2"], explain: false });
    const plain = grad(f)(paramsOf(dtype));
    for (const path of ["w", "v"] as const) {
      const entry = book.of(path);
      const gradient = await plain[path].data();
      expect(relativeError(await entry.total.data(), gradient, entry)).toBeLessThan(tolerance);
      const shares = entry.parts.reduce((sum, part) => sum + part.share, 0);
      if (entry.left > 1e-3) expect(shares).toBeCloseTo(1, 6);
    }
  });
});

property.prop([programs], { numRuns })("a part whose term has weight zero is exactly zero", async (steps) => {
  const book = await ledger(run(steps, { t1: 0 }))(paramsOf("f64"));
  for (const path of ["w", "v"])
    for (const part of book.by("term").of(path).parts)
      if (part.class.term === "t1") {
        expect([part.norm, ...(await part.contribution.data())].map(Math.abs)).toEqual([0, 0, 0]);
        expect(part.why!.map(({ reason }) => reason)).not.toContain("unexplained");
      }
});

property.prop([programs], { numRuns })(
  "merging classes is adding their parts, and finer classes merge into coarser",
  async (steps) => {
    const fine = await ledger(run(steps))(paramsOf("f64"), { marks: ["m0", "m1", "m2"], explain: false });
    const coarse = await ledger(run(steps))(paramsOf("f64"), { explain: false });
    const byTerm = async (book: Ledger, path: string): Promise<Map<string, ArrayLike<number>>> => {
      const parts = book.by("term").of(path).parts;
      return new Map(
        await Promise.all(parts.map(async (p) => [p.class.term ?? "", await p.contribution.data()] as const)),
      );
    };
    for (const path of ["w", "v"]) {
      const [merged, expected] = await Promise.all([byTerm(fine, path), byTerm(coarse, path)]);
      expect([...merged.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
      for (const [name, values] of expected)
        expect(relativeError(merged.get(name)!, values, coarse.of(path))).toBeLessThan(1e-12);
    }
  },
);

property.prop([programs], { numRuns })("what is exactly zero is explained", async (steps) => {
  const book = await ledger(run(steps))(paramsOf("f64"));
  for (const path of ["w", "v"])
    for (const zero of book.of(path).why ?? []) expect(zero.reason).not.toBe("unexplained");
});

property.prop([programs], { numRuns })("what is zero because it is too small is explained", async (steps) => {
  const book = await ledger(run(steps, { t0: 2 ** -149, t1: 2 ** -148, t2: 1e-30 }))(paramsOf("f32"));
  for (const path of ["w", "v"])
    for (const part of book.of(path).parts)
      for (const zero of part.why ?? []) expect(zero.reason).not.toBe("unexplained");
});

test("a chain of 100,000 operations is traced without overflow", async () => {
  const deep = (p: Params): Tensor => {
    let x = p.w;
    for (let i = 0; i < 100_000; i++) x = i % 2 === 0 ? x.add(p.v) : x.neg();
    return x.sum();
  };
  const entry = (await ledger(deep)({ w: tensor([1, 2]), v: tensor([3, 4]) })).of("w");
  expect(await read(entry.total)).toEqual([1, 1]);
  expect(entry.steps).toHaveLength(100_001);
});
