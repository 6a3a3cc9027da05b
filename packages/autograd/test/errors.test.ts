import { ConfigError, GradientError, init, ShapeError, tensor, zeros, type Tensor } from "@switchyard/tensor";
import {
  adafactor,
  adam,
  adamw,
  checkGrads,
  clipByGlobalNorm,
  cosine,
  customVjp,
  grad,
  inverseSqrt,
  jvp,
  lion,
  sgd,
  treeMap,
  vjp,
  warmupCosine,
} from "@switchyard/autograd";
import { beforeAll, expect, test } from "vitest";

beforeAll(() => init("cpu"));

/** What no compiler has checked. */
const untyped = (x: unknown) => x as never;
const x = () => tensor([1, 2]);
const sum = (t: Tensor) => t.sum();
const trained = () => ({ a: x() });
const optimizer = () => adam({ learningRate: 0.1 });
const short = customVjp({ forward: (t: Tensor) => t.exp(), backward: () => [] });

test.each<[what: string, kind: new () => Error, message: string, act: () => unknown]>([
  [
    "integers to differentiate by",
    GradientError,
    "grad: i32[2] at b has no gradient; pass integers after",
    () => grad((p: { b: Tensor }) => p.b.sum())({ b: zeros([2], { dtype: "i32" }) }),
  ],
  [
    "an async function",
    GradientError,
    "grad: the function is async; make it synchronous",
    () => grad(untyped(async (t: Tensor) => t.sum()))(x()),
  ],
  [
    "a loss that is no scalar",
    GradientError,
    "grad: the loss must be a float scalar (got f32[2]); reduce it first",
    () => grad((t: Tensor) => t)(x()),
  ],
  [
    "a loss that is no tensor",
    GradientError,
    "grad: the function must return a scalar tensor or an object with a scalar `loss`, got 3",
    () => grad(untyped(() => 3))(x()),
  ],
  [
    "a loss that no parameter reaches",
    GradientError,
    "grad: no parameter reaches the loss; use the parameters",
    () => grad(() => x().sum())(x()),
  ],
  [
    "a cotangent that does not fit",
    GradientError,
    "pullback: the cotangent of f32[2] at the root does not fit, got f32[3]",
    () => vjp((t: Tensor) => t, x())[1](zeros([3])),
  ],
  [
    "a tangent that does not fit",
    GradientError,
    "jvp: the tangent of f32[2] at 0 does not fit, got f32[3]",
    () => jvp((t: Tensor) => t, [x()], [zeros([3])]),
  ],
  [
    "too few cotangents",
    GradientError,
    "customVjp: backward must return an array with a cotangent or null for each of 1 inputs, got 0",
    () => grad((t: Tensor) => short(t).sum())(x()),
  ],
  [
    "an input that is no tensor",
    GradientError,
    "customVjp: input 1 is 3, which is no tensor; close over what is none",
    () => customVjp({ forward: (t: Tensor, scale: Tensor) => t.mul(scale), backward: () => [null] })(x(), untyped(3)),
  ],
  [
    "a result that is no tensor",
    GradientError,
    "customVjp: forward returned f32[2] on cpu,3, which is no tensor; return one",
    () => customVjp({ forward: (t: Tensor): Tensor => untyped([t, 3]), backward: () => [null] })(x()),
  ],
  [
    "a custom rule without backward",
    ConfigError,
    'customVjp: needs the option "backward"',
    () => customVjp(untyped({ forward: (t: Tensor) => t })),
  ],
  [
    "a custom rule with an unknown part",
    ConfigError,
    'customVjp: unknown option "jvp"; options are forward, backward, linear',
    () => customVjp(untyped({ forward: (t: Tensor) => t, backward: () => [null], jvp: 1 })),
  ],
  [
    "trees that differ",
    ShapeError,
    "treeMap: the trees differ at a: one has a tensor, the other undefined",
    () => treeMap((t) => t, trained(), { b: x() }),
  ],
  ["no learning rate", ConfigError, 'adam: needs the option "learningRate"', () => adam(untyped({}))],
  [
    "an option of another library",
    ConfigError,
    'adamw: unknown option "lr"; options are learningRate, weightDecay, each, beta1',
    () => adamw(untyped({ lr: 1 })),
  ],
  [
    "a learning rate that is no number",
    ConfigError,
    "lion: learningRate must be a number of at least 0, or a function of the step, got NaN",
    () => lion({ learningRate: NaN }),
  ],
  [
    "a momentum out of range",
    ConfigError,
    "sgd: momentum must be a number of at least 0 and below 1, got 2",
    () => sgd({ learningRate: 1, momentum: 2 }),
  ],
  [
    "a decay out of range",
    ConfigError,
    "adafactor: decay must be a number of at least 0, got -1",
    () => adafactor({ decay: -1 }),
  ],
  [
    "an unknown option of one parameter",
    ConfigError,
    'adam: each, of a: unknown option "lr"; options are learningRate',
    () => adam({ learningRate: 1, each: () => untyped({ lr: 1 }) }).init(trained()),
  ],
  [
    "gradients of another tree",
    ShapeError,
    "adam: the trees differ at a: one has a tensor",
    () => optimizer().update(trained(), { b: x() }, optimizer().init(trained())),
  ],
  [
    "a gradient of another shape",
    ShapeError,
    "adam: the gradient at a must be f32[2], got f32[3]",
    () => optimizer().update(trained(), { a: zeros([3]) }, optimizer().init(trained())),
  ],
  [
    "a state that is none",
    ConfigError,
    "adam: the state must come from init or the update before, got undefined",
    () => optimizer().update(trained(), trained(), untyped(undefined)),
  ],
  [
    "the gradients left out",
    ConfigError,
    "adam: the state must come from init or the update before, got undefined",
    () => optimizer().update(trained(), optimizer().init(trained()), untyped(undefined)),
  ],
  ["no options at all", ConfigError, "adam: takes an object of options, got undefined", () => adam(untyped(undefined))],
  [
    "a learning rate where options belong",
    ConfigError,
    "adam: takes an object of options, got 0.001",
    () => adam(untyped(1e-3)),
  ],
  ["no learning rate", ConfigError, 'adam: needs the option "learningRate"', () => adam(untyped({}))],
  [
    "a schedule that gives no number",
    ConfigError,
    "adam: the learning rate at step 0 is NaN",
    () => adam({ learningRate: () => NaN }).update(x(), x(), optimizer().init(x())),
  ],
  ["a schedule of no steps", ConfigError, "cosine: steps must be positive, got 0", () => cosine({ peak: 1, steps: 0 })],
  [
    "a schedule of no warm-up",
    ConfigError,
    "inverseSqrt: warmup must be positive, got 0",
    () => inverseSqrt({ peak: 1, warmup: 0 }),
  ],
  [
    "more warm-up than steps",
    ConfigError,
    "warmupCosine: warmup must be at least 0 and less than steps 3, got 5",
    () => warmupCosine({ peak: 1, warmup: 5, steps: 3 }),
  ],
  [
    "a norm to clip to that is none",
    ConfigError,
    "clipByGlobalNorm: max must be a number above 0, got -1",
    () => clipByGlobalNorm(x(), -1),
  ],
])("%s: one line that says what to do", (_, kind, message, act) => {
  expect(act).toThrow(kind);
  expect(act).toThrow(message);
  expect(act).toThrow(/^[^\n]+$/);
});

test.each<[what: string, kind: new () => Error, message: string, act: () => Promise<void>]>([
  [
    "an argument where a list of them belongs",
    ConfigError,
    "checkGrads: the arguments of f must be an array, got f32[2] on cpu; write [x]",
    () => checkGrads(sum, untyped(x())),
  ],
  ["no argument", GradientError, "checkGrads: no argument holds a float tensor", () => checkGrads(() => x(), [])],
  [
    "an order of 0",
    ConfigError,
    "checkGrads: order must be a positive integer, got 0",
    () => checkGrads(sum, [x()], { order: 0 }),
  ],
  [
    "a step of 0",
    ConfigError,
    "checkGrads: eps must be a number above 0, got 0",
    () => checkGrads(sum, [x()], { eps: 0 }),
  ],
  [
    "an unknown option",
    ConfigError,
    'checkGrads: unknown option "orders"; options are order, ',
    () => checkGrads(sum, [x()], untyped({ orders: 1 })),
  ],
  [
    "an unknown mode",
    ConfigError,
    'checkGrads: modes must be an array of "reverse" and "forward", got backward',
    () => checkGrads(sum, [x()], { modes: untyped(["backward"]) }),
  ],
  [
    "a constant in f32",
    GradientError,
    "checkGrads: f closes over f32[2] on cpu made by tensor; pass it as an argument",
    () => {
      const y = x();
      return checkGrads((t: Tensor) => t.mul(y), [x()]);
    },
  ],
])("checkGrads refuses %s", async (_, kind, message, act) => {
  await expect(act()).rejects.toThrow(kind);
  await expect(act()).rejects.toThrow(message);
});
