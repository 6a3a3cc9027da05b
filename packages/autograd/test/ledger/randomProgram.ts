import { fc } from "@fast-check/vitest";
import { mark, scope, tensor, term, type Tensor } from "@switchyard/tensor";
import { checkpoint, treeLeaves } from "@switchyard/autograd";

export interface Params {
  w: Tensor;
  v: Tensor;
}

export const paramsOf = (dtype: "f32" | "f64"): Params => ({
  w: tensor([0.5, -1], { dtype }),
  v: tensor([2, 0.3], { dtype }),
});

/** How many random cases of each property. */
export const numRuns = process.env.SWITCHYARD_DEEP ? 1000 : 100;

/** The elements of all tensors of a tree, one after the other. */
export const read = (tree: unknown): Promise<number[]> =>
  Promise.all(treeLeaves(tree).map((t) => t.data())).then((all) => all.flatMap((d) => [...d]));

/** A program over a growing list of vectors. */
export type Steps = readonly (readonly [kind: number, a: number, b: number])[];

export const programs: fc.Arbitrary<Steps> = fc.array(fc.tuple(fc.nat(8), fc.nat(20), fc.nat(20)), {
  minLength: 1,
  maxLength: 12,
});

/** The loss that a program computes, with terms, marks, scopes and checkpoints strewn in. Terms are weighted by name. */
export const run =
  (steps: Steps, weights: { readonly [name: string]: number } = {}) =>
  (p: Params): Tensor => {
    const values = [p.w, p.v, p.w.mul(p.v)];
    let loss = values[2].sum();
    for (const [i, [kind, a, b]] of steps.entries()) {
      const [x, y] = [values[a % values.length], values[b % values.length]];
      const make = [
        () => x.add(y),
        () => x.mul(y).tanh(),
        () => x.sin(),
        () => x.max().mul(y),
        () => x.cumprod().sigmoid(),
        () => mark(`m${a % 3}`, x.mul(0.5)),
        () => x.gather([1, 0, 1]).slice([0, 2]),
        () => checkpoint((u: Tensor, v: Tensor) => u.mul(v).cos())(x, y),
        () => x.sub(y.mean()),
      ][kind];
      values.push(scope(`s${b % 3}`, make));
      const name = `t${a % 3}`;
      const last = values.at(-1)!;
      if (i % 2 === 0) loss = loss.add(scope(`s${a % 2}`, () => term(name, last.sum())).mul(weights[name] ?? 1));
    }
    return loss;
  };
