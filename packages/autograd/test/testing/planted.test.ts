// Wrong gradients of the kinds that people write. The kit must find each, within a default run, and reduce it to something readable.
import fc from "fast-check";
import { concat, init, matmul, ones, scatter, take, tensor, type Tensor } from "@switchyard/tensor";
import { checkGrads, customVjp, treeLeaves } from "@switchyard/autograd";
import { broadcastableShapes, indices, permutationOf, stridedView, tensorOf } from "@switchyard/autograd/testing";
import { beforeAll, expect, test } from "vitest";

beforeAll(() => init("cpu"));

interface Planted {
  readonly args: fc.Arbitrary<Tensor[]>;
  readonly f: (...args: Tensor[]) => Tensor;
  /** What the complaint says. */
  readonly says: RegExp;
}

const extent = fc.integer({ min: 0, max: 6 });
const some = fc.integer({ min: 1, max: 6 });
const matrix = tensorOf({ shape: [extent, some] });
const one = (x: fc.Arbitrary<Tensor>): fc.Arbitrary<Tensor[]> => x.map((t) => [t]);
const atFault = /the rule at fault is that of customVjp f64\[/;

/** A function of one tensor with a rule of its own. */
const unary = (
  forward: (x: Tensor) => Tensor,
  backward: (ct: Tensor, y: Tensor, x: Tensor) => Tensor,
  args: fc.Arbitrary<Tensor> = matrix,
  says = atFault,
): Planted => ({
  args: one(args),
  f: customVjp({ forward, backward: (ct, y, x: Tensor) => [backward(ct, y, x)] }),
  says,
});

const binary = (
  forward: (a: Tensor, b: Tensor) => Tensor,
  backward: (ct: Tensor, y: Tensor, a: Tensor, b: Tensor) => [Tensor | null, Tensor | null],
  args: fc.Arbitrary<Tensor[]>,
): Planted => ({ args, f: customVjp({ forward, backward }), says: atFault });

const pair = fc.tuple(extent, some).chain(([m, n]) => fc.tuple(tensorOf({ shape: [m, n] }), tensorOf({ shape: [n] })));
const squares = some.chain((n) => fc.tuple(tensorOf({ shape: [n, n] }), tensorOf({ shape: [n, n] })));
const broadcast = broadcastableShapes({ maxDims: 3, maxExtent: 3 }).chain(({ shapes: [a, b] }) =>
  fc.tuple(tensorOf({ shape: fc.constant(a) }), tensorOf({ shape: fc.constant(b) })),
);
const rowsAndIndex = fc
  .tuple(some, some)
  .chain(([m, n]) => fc.tuple(tensorOf({ shape: [m, 2] }), indices({ shape: [n], size: m })));

/** Elements one place on, the last one first. */
const rolled = (x: Tensor): Tensor => concat([x.slice([-1]), x.slice([0, -1])]);
/** Sums to a shape by taking the first element where it should add all of them. */
const firstOf = (ct: Tensor, like: Tensor): Tensor =>
  ct
    .slice(...ct.shape.map((n, i) => (like.shape.at(i - ct.ndim) === n ? ([] as const) : ([0, 1] as const))))
    .reshape(like.shape);

const planted: Record<string, Planted> = {
  "a sign": unary(
    (x) => x.cos(),
    (ct, _, x) => ct.mul(x.sin()),
  ),
  "a factor": unary(
    (x) => x.square(),
    (ct, _, x) => ct.mul(x),
  ),
  "a factor that depends on the size": unary(
    (x) => x.mean(-1),
    (ct, _, x) => ct.expandDims(-1).broadcastTo(x.shape),
  ),
  "a missing broadcast sum": binary(
    (x, bias) => x.add(bias),
    (ct, _, __, bias) => [ct, ct.shape[0] === 0 ? bias.mul(0) : ct.slice(0)],
    pair,
  ),
  "a broadcast sum over some of the axes": binary(
    (a, b) => a.mul(b),
    (ct, _, a, b) => [firstOf(ct.mul(b), a), firstOf(ct.mul(a), b)],
    broadcast.filter(([a, b]) => a.size * b.size > 0),
  ),
  "a dropped duplicate index": binary(
    (x, index) => take(x, index, 0),
    (ct, _, x, index) => [scatter(ct, index, x.shape, { op: "set" }), null],
    rowsAndIndex,
  ),
  "a tie that gives its gradient to each": unary(
    (x) => x.max(-1),
    (ct, y, x) => ct.expandDims(-1).mul(x.eq(y.expandDims(-1)).cast(x.dtype)),
    tensorOf({ shape: [extent, some], corners: true }),
    /what tied entries get must add up; the rule at fault is that of customVjp/,
  ),
  "a stale mask": unary(
    (x) => x.relu(),
    (ct, _, x) => ct.mul(rolled(x).gt(0).cast(x.dtype)),
    tensorOf({ shape: [some] }),
  ),
  "a forgotten transpose": binary(
    (a, b) => matmul(a, b),
    (ct, _, a, b) => [matmul(ct, b), matmul(a.transpose(), ct)],
    squares,
  ),
  "a scan that runs forwards": unary(
    (x) => x.cumsum(-1),
    (ct) => ct.cumsum(-1),
  ),
  "a softmax without its sum": unary(
    (x) => x.softmax(-1),
    (ct, y) => ct.mul(y),
  ),
  "a swapped quotient": binary(
    (a, b) => a.div(b),
    (ct, y, a, b) => [ct.div(b), ct.mul(y).div(a).neg()],
    squares,
  ),
  "a permutation instead of its inverse": {
    args: some.chain((n) =>
      fc.tuple(
        tensorOf({ shape: [n] }),
        permutationOf(n).map((order) => tensor(order, { dtype: "i32" })),
      ),
    ),
    f: customVjp({
      forward: (x: Tensor, order: Tensor) => x.gather(order),
      backward: (ct, _y, _x, order) => [ct.gather(order), null],
    }),
    says: atFault,
  },
  "an assumption about strides": unary(
    (x) => x.exp(),
    (ct, y) => ct.mul(y.transpose().reshape(y.shape)),
    stridedView({ shape: [some, some] }),
  ),
  "a second gradient that was stopped": unary(
    (x) => x.square(),
    (ct, _, x) => ct.mul(x.stopGradient()).mul(2),
    matrix,
    /order 2 .* f has a stopGradient .* in the gradient of customVjp/,
  ),
  "a cotangent that is clipped": unary(
    (x) => x.exp(),
    (ct, y) => ct.clip(-0.75, 0.75).mul(y),
    matrix,
    /not linear in its cotangent/,
  ),
  "a cotangent that is taken to be one": unary(
    (x) => x.sin(),
    (ct, _, x) => ones(ct.shape).mul(x.cos()),
    matrix,
    /not linear in its cotangent/,
  ),
};

test.each(Object.entries(planted))(
  "the kit finds %s, and reduces it to eight elements at most",
  async (_, { args, f, says }) => {
    const property = fc.asyncProperty(args, (xs) => checkGrads(f, xs));
    const { failed, counterexample, errorInstance } = await fc.check(property, { seed: 5, endOnFailure: false });
    expect(failed).toBe(true);
    expect(treeLeaves(counterexample).reduce((n, x) => n + x.size, 0)).toBeLessThanOrEqual(8);
    expect(String(errorInstance)).toMatch(says);
  },
);
