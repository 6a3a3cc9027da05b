import { test as property } from "@fast-check/vitest";
import { GradientError, init, mark, scope, tensor, term, type Tensor } from "@switchyard/tensor";
import {
  checkGrads,
  checkpoint,
  customVjp,
  grad,
  gradParts,
  type GradPart,
  type PathClass,
} from "@switchyard/autograd";
import { describe, expect, test } from "vitest";
import { numRuns, paramsOf, programs, read, run, type Params } from "./ledger/randomProgram.ts";

await init("cpu");

const f64 = (values: readonly number[]): Tensor => tensor(values, { dtype: "f64" });
const params = (): Params => paramsOf("f64");

const classes = (parts: readonly GradPart<unknown>[]): PathClass[] => parts.map((p) => p.class);
const part = (parts: readonly GradPart<Params>[], wanted: PathClass): Params =>
  parts.find((p) => JSON.stringify(p.class) === JSON.stringify(wanted))!.grads;

const model = (p: Params): Tensor => {
  const h = scope("layer", () => mark("hidden", p.w.mul(p.v)));
  const balance = scope("router", () => term("balance", p.w.square().sum()));
  return h.sin().sum().add(balance.mul(0.1)).add(term("noise", h.sum()).mul(0));
};

describe("a part is classed", () => {
  test("by the term its paths cross and the scope that consumes the parameter", async () => {
    const parts = gradParts(model)(params());
    expect(classes(parts)).toEqual(
      expect.arrayContaining([
        { scope: "layer" },
        { term: "balance", scope: "router" },
        { term: "noise", scope: "layer" },
      ]),
    );
    expect(parts).toHaveLength(3);
    expect(await read(part(parts, { term: "balance", scope: "router" }))).toEqual(
      [0.1, -0.2, 0, 0].map((x) => expect.closeTo(x)),
    );
  });

  test("by the marks asked for, and by no others", () => {
    const parts = gradParts(model)(params(), { marks: ["hidden"] });
    expect(classes(parts)).toContainEqual({ marks: ["hidden"], scope: "layer" });
    expect(classes(parts)).toContainEqual({ term: "balance", scope: "router" });
    expect(classes(gradParts(model)(params(), { marks: ["other"] })).some((c) => c.marks)).toBe(false);
  });

  test("by the innermost of nested terms", () => {
    const nested = (p: Params): Tensor => term("outer", term("inner", p.w.sum()).add(p.v.sum()));
    const parts = gradParts(nested)(params());
    expect(classes(parts)).toEqual(expect.arrayContaining([{ term: "inner" }, { term: "outer" }]));
  });

  test("inside checkpoints as outside, also by scope", () => {
    const body = (p: Params): Tensor => scope("inside", () => term("deep", p.w.mul(p.v).sum()).add(p.v.sum()));
    const parts = gradParts((p: Params) => scope("outside", () => checkpoint(body)(p)))(params());
    expect(classes(parts)).toEqual(
      expect.arrayContaining([{ term: "deep", scope: "outside/inside" }, { scope: "outside/inside" }]),
    );
    expect(parts).toHaveLength(2);
  });

  test("as nonlinear beyond a rule that says so", () => {
    const clipped = customVjp({
      forward: (x: Tensor) => x.mul(1),
      backward: (ct) => [ct.clip(-0.1, 0.1)],
      linear: false,
    });
    const parts = gradParts((p: Params) => term("a", clipped(p.w).sum()).add(p.v.sum()))(params());
    expect(classes(parts)).toEqual(expect.arrayContaining([{ nonlinear: true }, {}]));
  });
});

test("a nonlinear rule gets the whole cotangent once, so the parts still add up", async () => {
  const clipped = customVjp({ forward: (x: Tensor) => x.mul(1), backward: (ct) => [ct.clip(-1, 1)], linear: false });
  const f = (p: Params): Tensor => {
    const y = clipped(p.w);
    return term("a", y.mul(0.7).sum()).add(term("b", y.mul(0.7).sum()));
  };
  const parts = gradParts(f)(params());
  expect(await read(part(parts, { nonlinear: true }))).toEqual(await read(grad(f)(params())));
});

test("the part of a term with weight zero is exactly zero", async () => {
  const noise = await read(part(gradParts(model)(params()), { term: "noise", scope: "layer" }));
  expect(noise.map(Math.abs)).toEqual([0, 0, 0, 0]);
});

test("where no path leads, all parts share one tensor of zeros: many classes take no more memory", () => {
  const apart = (p: Params): Tensor => term("a", p.w.sum()).add(term("b", p.w.sin().sum())).add(p.v.sum());
  const parts = gradParts(apart)(params());
  expect(part(parts, { term: "a" }).v).toBe(part(parts, { term: "b" }).v);
});

test("further arguments come before the options, and an object that is no options is an argument", async () => {
  const f = (p: Params, batch: { marks: Tensor } | { x: number }): Tensor =>
    ("x" in batch ? p.w.mul(batch.x) : p.w).sum();
  expect(await read(gradParts(f)(params(), { x: 3 })[0].grads)).toEqual([3, 3, 0, 0]);
  expect(await read(gradParts(f)(params(), { x: 3 }, { marks: ["m"] })[0].grads)).toEqual([3, 3, 0, 0]);
});

test("parts are differentiable", () =>
  checkGrads(
    (w: Tensor, v: Tensor) => gradParts(model)({ w, v }).map((p) => p.grads),
    [f64([0.5, -1]), f64([2, 0.3])],
  ));

test("more than 64 classes of terms and marks are a GradientError", () => {
  const many = (count: number) => (p: Params) => {
    const terms = Array.from({ length: count }, (_, i) => scope(`s${i}`, () => term(`t${i}`, p.w.sum())));
    return terms.reduce((sum, t) => sum.add(t));
  };
  expect(gradParts(many(63))(params())).toHaveLength(63);
  expect(() => gradParts(many(64))(params())).toThrow(GradientError);
});

property.prop([programs], { numRuns })("on random programs the parts add up to the gradient", async (steps) => {
  const total = await read(grad(run(steps))(params()));
  const parts = gradParts(run(steps))(params(), { marks: ["m0", "m2"] });
  const each = await Promise.all(parts.map((p) => read(p.grads)));
  total.forEach((whole, i) => {
    const sum = each.reduce((s, values) => s + values[i], 0);
    const scale = each.reduce((s, values) => s + Math.abs(values[i]), 1);
    expect(Math.abs(sum - whole)).toBeLessThan(1e-12 * scale);
  });
});

property.prop([programs], { numRuns })(
  "classes merged by term are the parts found without asking for marks",
  async (steps) => {
    const byTerm = async (parts: readonly GradPart<Params>[]): Promise<Map<string, number[]>> => {
      const sums = new Map<string, number[]>();
      for (const p of parts) {
        const values = await read(p.grads);
        const key = p.class.term ?? "rest";
        sums.set(
          key,
          values.map((v, i) => v + (sums.get(key)?.[i] ?? 0)),
        );
      }
      return sums;
    };
    const fine = await byTerm(gradParts(run(steps))(params(), { marks: ["m0", "m1", "m2"] }));
    const coarse = await byTerm(gradParts(run(steps))(params()));
    expect([...fine.keys()].toSorted()).toEqual([...coarse.keys()].toSorted());
    for (const [key, values] of coarse) values.forEach((v, i) => expect(fine.get(key)![i]).toBeCloseTo(v, 10));
  },
);
