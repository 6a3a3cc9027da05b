import { GradientError, dot, init, realize, scope, stopGradient, tensor, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { checkGrads, grad, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

const row = (values: readonly number[]): Tensor => tensor(values, { dtype: "f64" });
const x = row([1, 2, 3]);

describe("grad", () => {
  test("gives a tree like the parameters", async () => {
    const params = { w: row([1, 2]), layers: [{ b: row([3, 4]) }], name: "model" };
    const grads = grad((p: typeof params) => p.w.mul(p.layers[0].b).sum())(params);
    expect(await grads.w.toArray()).toEqual([3, 4]);
    expect(await grads.layers[0].b.toArray()).toEqual([1, 2]);
    expect(grads.name).toBe("model");
  });

  test("passes further arguments on as constants", async () => {
    const g = grad((v: Tensor, scale: number, other: Tensor) => v.mul(other).mul(scale).sum())(x, 2, x);
    expect(await g.toArray()).toEqual([2, 4, 6]);
  });

  test("treats a tensor the function closes over as a constant, even one among the parameters", async () => {
    expect(await grad((v: Tensor) => v.mul(x).sum())(x).toArray()).toEqual([1, 2, 3]);
  });

  test("gives a tensor at two places two gradients", async () => {
    const grads = grad(({ a, b }: { a: Tensor; b: Tensor }) => a.mul(2).add(b.mul(3)).sum())({ a: x, b: x });
    expect(await grads.a.toArray()).toEqual([2, 2, 2]);
    expect(await grads.b.toArray()).toEqual([3, 3, 3]);
  });

  test("does not confuse the perturbations of nested gradients", async () => {
    const inner = (v: Tensor): Tensor => grad((y: Tensor) => v.add(y))(v);
    expect(await grad((v: Tensor) => v.mul(inner(v)))(tensor(5)).item()).toBe(1);
  });

  test("passes an outer gradient through the variable of an inner one", async () => {
    const cube = (y: Tensor): Tensor => y.mul(y).mul(y);
    expect(await grad((v: Tensor) => grad(cube)(v))(tensor(3)).item()).toBe(18);
    expect(await grad((v: Tensor) => grad((w: Tensor) => grad(cube)(w))(v))(tensor(3)).item()).toBe(6);
  });

  test("of a parameter that does not reach the loss is zeros", async () => {
    const grads = grad((p: { used: Tensor; unused: Tensor }) => p.used.sum())({ used: x, unused: row([1]) });
    expect(await grads.unused.toArray()).toEqual([0]);
  });

  test("is zero, without complaint, where the program stops it", async () => {
    expect(await grad((v: Tensor) => stopGradient(v).sum())(x).toArray()).toEqual([0, 0, 0]);
  });

  test("is in the dtype of the parameter", () => {
    expect(grad((v: Tensor) => v.sum())(tensor([1])).dtype).toBe("f32");
  });

  test("keeps working after the parameters were realized again and the loss was read", async () => {
    const p = row([2]);
    const [loss, g] = valueAndGrad((v: Tensor) => v.square().sum())(p);
    expect(await loss.item()).toBe(4);
    await realize(p);
    expect(await g.toArray()).toEqual([4]);
  });

  test("adds up over all uses of a tensor", async () => {
    const f = (v: Tensor): Tensor => v.mul(v).add(v).add(v.mul(3)).sum();
    expect(await grad(f)(x).toArray()).toEqual([6, 8, 10]);
  });

  test("takes a graph deeper than the stack", async () => {
    const deep = (v: Tensor): Tensor => {
      for (let i = 0; i < 20_000; i++) v = v.add(1);
      return v.sum();
    };
    expect(await grad(deep)(row([1])).toArray()).toEqual([1]);
  });

  test("makes no arrays of zeros on the way", () => {
    const g = grad((v: Tensor) => v.mul(2).add(stopGradient(v).exp()).sum())(x);
    const ops = topologicalOrder([g.node]).map((n) => n.op);
    expect(ops).not.toContain("detach");
    expect(ops.filter((op) => op === "full")).toHaveLength(2);
  });

  test("nodes made by a rule say which op they differentiate and in which scope", () => {
    const g = grad((v: Tensor) => scope("layer", () => v.exp()).sum())(x);
    const { provenance } = topologicalOrder([g.node]).find((n) => n.provenance.rule?.op === "exp")!;
    expect(provenance).toMatchObject({ scope: "layer", rule: { op: "exp", scope: "layer" } });
  });
});

describe("grad refuses", () => {
  const f = (p: { step: Tensor; w: Tensor }): Tensor => p.w.sum();
  test("an integer among the parameters, naming its path", () => {
    const params = { step: tensor([1], { dtype: "i32" }), w: x };
    expect(() => grad(f)(params)).toThrow(GradientError);
    expect(() => grad(f)(params)).toThrow("grad: i32[1] at step has no gradient");
  });

  test("an async function", () => {
    // @ts-expect-error: a Promise is no loss
    expect(() => grad(async (v: Tensor) => v.sum())(x)).toThrow(GradientError);
  });

  test("a loss that is not a scalar, naming its shape", () => {
    expect(() => grad((v: Tensor) => v)(x)).toThrow("the loss must be a float scalar (got f64[3])");
    expect(() => grad((v: Tensor) => v.sum().cast("i32"))(x)).toThrow("got i32[]");
  });

  test("a value that holds no loss", () => {
    // @ts-expect-error: neither a tensor nor an object with a loss
    expect(() => grad((v: Tensor) => ({ cost: v.sum() }))(x)).toThrow("an object with a scalar `loss`");
  });

  test("a loss that no parameter reaches", () => {
    expect(() => grad(() => x.sum())(x)).toThrow("no parameter reaches the loss");
    expect(() => grad(() => x.sum())({})).toThrow("got no tensors");
  });
});

describe("valueAndGrad", () => {
  test("gives what the function returned, with its own keys and type", async () => {
    const [value, g] = valueAndGrad((v: Tensor) => ({ loss: v.sum(), aux: { n: 3, twice: v.mul(2) } }))(x);
    expect([await value.loss.item(), value.aux.n, await value.aux.twice.toArray()]).toEqual([6, 3, [2, 4, 6]]);
    expect(await g.toArray()).toEqual([1, 1, 1]);
  });
});

describe("vjp", () => {
  test("pulls a cotangent back through a tree of values to a tuple of primals", async () => {
    const [out, pullback] = vjp((a: Tensor, p: { b: Tensor }) => ({ sum: a.add(p.b), product: a.mul(p.b) }), x, {
      b: row([4, 5, 6]),
    });
    const [da, dp] = pullback({ sum: row([1, 1, 1]), product: row([1, 0, 2]) });
    expect(await out.sum.toArray()).toEqual([5, 7, 9]);
    expect(await da.toArray()).toEqual([5, 1, 13]);
    expect(await dp.b.toArray()).toEqual([2, 1, 7]);
  });

  test("pulls back more than once", async () => {
    const [, pullback] = vjp((a: Tensor) => a.square(), x);
    expect(await pullback(row([1, 0, 0]))[0].toArray()).toEqual([2, 0, 0]);
    expect(await pullback(row([0, 1, 0]))[0].toArray()).toEqual([0, 4, 0]);
  });

  test("pulls back after the value has been realized, and after it has been disposed of", async () => {
    const [out, pullback] = vjp((a: Tensor) => a.square(), x);
    await realize(out);
    expect(await pullback(row([1, 0, 1]))[0].toArray()).toEqual([2, 0, 6]);
    out.dispose();
    expect(await pullback(row([1, 0, 1]))[0].toArray()).toEqual([2, 0, 6]);
  });

  test("refuses a cotangent of another shape", () => {
    const [, pullback] = vjp((a: Tensor) => ({ y: a.square() }), x);
    expect(() => pullback({ y: row([1]) })).toThrow("pullback: the cotangent of f64[3] at y does not fit, got f64[1]");
  });

  test("passes over integers among the values", async () => {
    const [out, pullback] = vjp((a: Tensor) => ({ y: a.mul(2), n: a.argMax() }), x);
    expect(await pullback({ y: x, n: out.n })[0].toArray()).toEqual([2, 4, 6]);
  });
});

describe("jvp", () => {
  test("is the derivative along the tangent", async () => {
    const [out, tangent] = jvp(
      (a: Tensor, b: Tensor) => a.mul(b),
      [x, row([4, 5, 6])],
      [row([1, 0, 0]), row([0, 1, 0])],
    );
    expect(await out.toArray()).toEqual([4, 10, 18]);
    expect(await tangent.toArray()).toEqual([4, 2, 0]);
  });

  test("pairs with vjp: ⟨ct, J v⟩ = ⟨Jᵀ ct, v⟩", async () => {
    const f = (a: Tensor): Tensor => a.sin().cumprod();
    const [v, ct] = [row([0.3, -1, 2]), row([1, 2, -1])];
    const forwards = await dot(jvp(f, [x], [v])[1], ct).item();
    const backwards = await dot(vjp(f, x)[1](ct)[0], v).item();
    expect(forwards).toBeCloseTo(backwards, 14);
  });

  test("refuses a tangent of another shape", () => {
    expect(() => jvp((a: Tensor) => a, [x], [row([1])])).toThrow(
      "jvp: the tangent of f64[3] at 0 does not fit, got f64[1]",
    );
  });

  test("keeps a value returned twice apart", async () => {
    const [, tangent] = jvp((a: Tensor) => [a, a, a.argMax()], [x], [row([1, 2, 3])]);
    expect(await Promise.all(tangent.map((t) => t.toArray()))).toEqual([[1, 2, 3], [1, 2, 3], 0]);
  });
});

describe("second derivatives", () => {
  const f = (a: Tensor): Tensor => a.cumprod().square().sum();

  test("the rows of a jacobian are gradients", async () => {
    const j = await jacobian((a: Tensor) => a.cumprod())(x).toArray();
    expect(j).toEqual([
      [1, 0, 0],
      [2, 1, 0],
      [6, 3, 2],
    ]);
  });

  test("a jacobian has the axes of the value before those of the input", () => {
    const j = jacobian((a: Tensor) => a.reshape([3, 1]).matmul(a.reshape([1, 3])))(x);
    expect(j.shape).toEqual([3, 3, 3]);
  });

  test("a Hessian is symmetric and its product with a vector is hvp", async () => {
    const h = hessian(f)(x);
    const v = row([1, -2, 0.5]);
    expect(await h.toArray()).toEqual(await h.transpose().toArray());
    expect(await hvp(f)(x, v).toArray()).toEqual(await h.matmul(v).toArray());
  });

  test("of a linear function are zero", async () => {
    expect(await hvp((a: Tensor) => a.sum())(x, x).toArray()).toEqual([0, 0, 0]);
  });

  test("go on to any order", () => checkGrads((a: Tensor) => a.tanh().mul(a).sum(), [x], { order: 4 }));
});
