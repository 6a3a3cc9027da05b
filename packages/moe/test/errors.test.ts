import { adam } from "@switchyard/autograd";
import {
  ConfigError,
  DisposedError,
  DTypeError,
  FormatError,
  init,
  random,
  ShapeError,
  tensor,
  zeros,
  type Tensor,
} from "@switchyard/tensor";
import {
  expertChoice,
  gshardTop2,
  hashRouter,
  hierarchicalTopK,
  lstmMoe,
  makeRouting,
  sequenceBalanceLoss,
  sigmoidTopK,
  softMoe,
  switchTop1,
  updateBias,
  withCapacity,
  combine,
  corpusOf,
  decodeText,
  dispatch,
  evaluate,
  generate,
  importanceLoss,
  linear,
  loadCheckpoint,
  loadLoss,
  loadMetrics,
  loadSafetensors,
  lstm,
  moe,
  noisyTopK,
  normalization,
  randomBatches,
  softmaxTopK,
  switchLoss,
  train,
  transformer,
} from "@switchyard/moe";
import { beforeAll, expect, test } from "vitest";

beforeAll(() => init("cpu"));

/** What no compiler has checked. */
const untyped = (x: unknown) => x as never;
const i32 = (...shape: number[]) => zeros(shape, { dtype: "i32" });

const sizes = { dim: 2, hidden: 2, experts: 2 };
const layer = moe({ ...sizes, router: noisyTopK({ k: 1 }) });
const apply = (x: Tensor, options: object = {}) => layer.apply(layer.init(random.key(0)), x, options);
const record = () => softmaxTopK({ k: 1 }).route({ gate: zeros([2, 3]) }, zeros([4, 2]));
const model = transformer({ vocab: 4, dim: 4, layers: 1, heads: 1, hidden: 4, context: 3, moe: { experts: 2, k: 1 } });
const logits = (tokens: Tensor) => model.apply(model.init(random.key(0)), tokens);
const text = (options: object) =>
  generate(model, untyped({}), { prompt: [1], maxTokens: 1, temperature: 0, ...options });
const run = { model, data: () => untyped({}), optimizer: adam({ learningRate: 1 }), steps: 1 };
const judge = (batches: number) => evaluate({ model, params: untyped({}), data: () => untyped({}), batches });
const gone = () => {
  const params = layer.init(random.key(0));
  params.router.gate.dispose();
  return layer.apply(params, zeros([3, 2]));
};

test.each<[what: string, kind: new () => Error, message: string, act: () => unknown]>([
  [
    "k above the experts",
    ConfigError,
    "noisyTopK: k = 3 but there are 2 experts; choose k from 1 to 2",
    () => moe({ ...sizes, router: noisyTopK({ k: 3 }) }).init(random.key(0)),
  ],
  ["a negative k", ConfigError, "softmaxTopK: k must be a positive integer, got -1", () => softmaxTopK({ k: -1 })],
  [
    "no experts",
    ConfigError,
    "moe: experts must be a positive integer, got 0",
    () => moe({ ...sizes, experts: 0, router: noisyTopK({ k: 1 }) }),
  ],
  [
    "an unknown option",
    ConfigError,
    'moe: unknown option "topK"; options are dim, hidden, experts, router',
    () => moe(untyped({ ...sizes, router: noisyTopK({ k: 1 }), topK: 2 })),
  ],
  [
    "an unknown option of a route",
    ConfigError,
    'moe: apply: unknown option "training"; options are train, key',
    () => apply(zeros([3, 2]), { training: true }),
  ],
  [
    "tokens of another width",
    ShapeError,
    "moe: the last axis of x must be dim = 2 (got f32[3,5])",
    () => apply(zeros([3, 5])),
  ],
  [
    "the arguments of a layer the wrong way round",
    ConfigError,
    "moe: apply takes the parameters, then a tensor, got { router, experts }",
    () => layer.apply(untyped(zeros([3, 2])), untyped(layer.init(random.key(0)))),
  ],
  [
    "a number where a tensor belongs",
    ConfigError,
    "linear: apply takes the parameters, then a tensor, got 3",
    () => linear({ in: 2, out: 1 }).apply({ weight: zeros([2, 1]) }, untyped(3)),
  ],
  [
    "no options",
    ConfigError,
    "noisyTopK: takes an object of options, got undefined",
    () => noisyTopK(untyped(undefined)),
  ],
  [
    "a number where options belong",
    ConfigError,
    "softmaxTopK: takes an object of options, got 2",
    () => softmaxTopK(untyped(2)),
  ],
  ["integer tokens", DTypeError, "moe: takes floating-point tensors; cast first", () => apply(i32(3, 2))],
  [
    "integer features to normalise",
    DTypeError,
    "normalization: takes floating-point tensors; cast first",
    () => normalization({ dim: 2 }).apply({ scale: zeros([2]) }, i32(3, 2)),
  ],
  [
    "integer rows to combine",
    DTypeError,
    "combine: takes floating-point tensors; cast first",
    () => combine(i32(4, 2), record()),
  ],
  [
    "a mask of another length",
    ShapeError,
    "moe: mask must be [3], one for each token of x (got bool[1], x f32[3,2])",
    () => apply(zeros([3, 2]), { mask: tensor([true]) }),
  ],
  [
    "noise of another shape",
    ShapeError,
    "noisyTopK: noise must be [tokens, experts] = [3,2] (got f32[2,2])",
    () => apply(zeros([3, 2]), { train: true, noise: zeros([2, 2]) }),
  ],
  [
    "training without a key",
    ConfigError,
    "noisyTopK: training draws noise and needs a key; pass { train: true, key",
    () => apply(zeros([3, 2]), { train: true }),
  ],
  [
    "a negative jitter",
    ConfigError,
    "switchTop1: jitter must be a number of at least 0 and below 1, got -0.1",
    () => switchTop1({ jitter: -0.1 }),
  ],
  [
    "a top-2 router of one expert",
    ConfigError,
    "gshardTop2: k = 2 but there are 1 experts; choose k from 1 to 1",
    () => gshardTop2().init(random.key(0), { dim: 2, experts: 1 }),
  ],
  [
    "second choices without a key",
    ConfigError,
    "gshardTop2: in training second choices are sent at random, which needs a key; pass { train: true, key",
    () => gshardTop2().route({ gate: zeros([2, 3]) }, zeros([4, 2]), { train: true }),
  ],
  [
    "groups that do not divide the experts",
    ConfigError,
    "sigmoidTopK: 3 groups do not divide 8 experts; choose a divisor",
    () => sigmoidTopK({ k: 1, groups: 3 }).init(random.key(0), { dim: 2, experts: 8 }),
  ],
  [
    "groups with too few experts to choose from",
    ConfigError,
    "sigmoidTopK: k = 3 but 1 of 4 groups have 2 experts; raise topGroups",
    () => sigmoidTopK({ k: 3, groups: 4, topGroups: 1 }).init(random.key(0), { dim: 2, experts: 8 }),
  ],
  [
    "more groups than there are",
    ConfigError,
    "sigmoidTopK: topGroups = 3 but there are 2 groups; choose at most 2",
    () => sigmoidTopK({ k: 1, groups: 2, topGroups: 3 }),
  ],
  [
    "counts of other experts",
    ShapeError,
    "updateBias: bias and counts must both be [experts] (got f32[3], i32[2])",
    () => updateBias(zeros([3]), i32(2)),
  ],
  [
    "a hash of more than 32 bits",
    ConfigError,
    "hashRouter: seed must be an integer from 0 to 4294967295, got 4294967296",
    () => hashRouter({ seed: 2 ** 32 }),
  ],
  [
    "hashing without ids",
    ConfigError,
    "hashRouter: routes by token ids; pass { tokenIds }, one for each token",
    () => hashRouter().route({ experts: 2 }, zeros([4, 2])),
  ],
  [
    "no capacity",
    ConfigError,
    "withCapacity: capacity must be a positive integer, got 0",
    () => withCapacity(record(), { capacity: 0 }),
  ],
  [
    "a capacity said twice",
    ConfigError,
    'withCapacity: needs one of the options "capacity" and "capacityFactor", and not both',
    () => withCapacity(record(), untyped({ capacity: 1, capacityFactor: 1 })),
  ],
  [
    "a capacity of a layer",
    ConfigError,
    "moe: dispatch: capacityFactor must be a number above 0, got -1",
    () => moe({ ...sizes, router: noisyTopK({ k: 1 }), dispatch: { capacityFactor: -1 } }),
  ],
  [
    "a random order without a key",
    ConfigError,
    'withCapacity: priority "random" draws an order and needs a key; pass random.key(…) after the options',
    () => withCapacity(record(), { capacity: 1, priority: "random" }),
  ],
  [
    "dropped pairs of another shape",
    ShapeError,
    "makeRouting: dropped must be bool[tokens, k] = bool[2,1] (got bool[1])",
    () => makeRouting({ experts: i32(2, 1), weights: zeros([2, 1]), expertCount: 1, dropped: tensor([true]) }),
  ],
  [
    "sequences that do not divide the tokens",
    ConfigError,
    "sequenceBalanceLoss: sequences of 3 tokens do not divide 4 tokens",
    () => sequenceBalanceLoss(record(), { sequence: 3 }),
  ],
  [
    "experts that choose nobody",
    ConfigError,
    "expertChoice: capacityFactor must be a number above 0, got 0",
    () => expertChoice({ capacityFactor: 0 }),
  ],
  [
    "groups of a hierarchy that do not divide the experts",
    ConfigError,
    "hierarchicalTopK: 3 groups do not divide 8 experts; choose a divisor",
    () => hierarchicalTopK({ groups: 3, topGroups: 1, k: 1 }).init(random.key(0), { dim: 2, experts: 8 }),
  ],
  [
    "more choices than a group has experts",
    ConfigError,
    "hierarchicalTopK: k = 3 but there are 2 experts; choose k from 1 to 2",
    () => hierarchicalTopK({ groups: 4, topGroups: 1, k: 3 }).init(random.key(0), { dim: 2, experts: 8 }),
  ],
  [
    "a capacity where experts choose",
    ConfigError,
    "moe: dispatch: a capacity needs a router whose tokens choose experts; this one has its own",
    () => {
      const l = moe({ ...sizes, router: expertChoice({ capacityFactor: 1 }), dispatch: { capacity: 1 } });
      return l.apply(l.init(random.key(0)), zeros([3, 2]));
    },
  ],
  [
    "sequences of another width",
    ShapeError,
    "softMoe: x must be […, tokens, 2] (got f32[3,5])",
    () => {
      const l = softMoe(sizes);
      return l.apply(l.init(random.key(0)), zeros([3, 5]));
    },
  ],
  [
    "an empty sequence of an LSTM",
    ShapeError,
    "lstmMoe: tokens must be [batch, steps], one at least (got i32[1,0])",
    () => {
      const m = lstmMoe({ vocab: 3, dim: 2, hidden: 2, experts: 2, k: 1 });
      return m.apply(m.init(random.key(0)), i32(1, 0));
    },
  ],
  [
    "a loss that is no scalar",
    ShapeError,
    'term: "mine" names a scalar term of a loss (got f32[3,2]); reduce it first',
    () =>
      moe({ ...sizes, router: noisyTopK({ k: 1 }), losses: { mine: (r) => r.gates } }).apply(
        layer.init(random.key(0)),
        zeros([3, 2]),
      ),
  ],
  [
    "a weight that is no number",
    ConfigError,
    "importanceLoss: weight must be a finite number, got NaN",
    () => importanceLoss(record(), { weight: NaN }),
  ],
  [
    "a convention that is none",
    ConfigError,
    'switchLoss: fraction must be one of "perToken", "perChoice", "firstChoice", got mean',
    () => switchLoss(record(), { fraction: untyped("mean") }),
  ],
  [
    "the load of a router without noise",
    ConfigError,
    "probInTopK: the router has no noise, so its load has no gradient; route with noisyTopK",
    () => loadLoss(record()),
  ],
  [
    "a record of other tokens",
    ShapeError,
    "dispatch: the record routes 4 tokens (got f32[5,2])",
    () => dispatch(zeros([5, 2]), record()),
  ],
  ["a parameter that is gone", DisposedError, "tensor f32[2,2] made by full was disposed; use it before that", gone],
  [
    "a sequence beyond the context",
    ShapeError,
    "transformer: a sequence has at most 3 tokens, the context (got i32[1,4]); cut it",
    () => logits(i32(1, 4)),
  ],
  [
    "an empty batch of sequences",
    ShapeError,
    "transformer: a batch has at least one token (got i32[0,3])",
    () => logits(i32(0, 3)),
  ],
  ["tokens that are floats", DTypeError, "transformer: tokens must be i32 (got f32[1,2])", () => logits(zeros([1, 2]))],
  [
    "a sequence without steps",
    ShapeError,
    "lstm: a sequence has at least one step",
    () => {
      const l = lstm({ in: 2, hidden: 2 });
      return l.apply(l.init(random.key(0)), zeros([1, 0, 2]));
    },
  ],
  [
    "an empty prompt",
    ConfigError,
    "generate: prompt must be an array of at least one token id",
    () => text({ prompt: [] }),
  ],
  [
    "a prompt beyond the context",
    ConfigError,
    "generate: the prompt has 4 tokens but the context is 3; give its last 3",
    () => text({ prompt: [0, 1, 2, 3] }),
  ],
  [
    "tokens to add that are none",
    ConfigError,
    "generate: maxTokens must be an integer of at least 0, got 1.5",
    () => text({ maxTokens: 1.5 }),
  ],
  [
    "drawing without a key",
    ConfigError,
    "generate: drawing tokens needs a key, such as random.key(0); temperature 0 takes",
    () => text({ temperature: 1 }),
  ],
  ["no steps", ConfigError, "train: steps must be a positive integer, got 0", () => train({ ...run, steps: 0 })],
  [
    "an unknown option of a run",
    ConfigError,
    'train: unknown option "epochs"; options are model, data, optimizer, steps',
    () => train(untyped({ ...run, epochs: 2 })),
  ],
  [
    "an optimizer that was not called",
    ConfigError,
    "train: optimizer must be an object, got a function",
    () => train({ ...run, optimizer: untyped(adam) }),
  ],
  [
    "tokens that are not there",
    ConfigError,
    "transformer: tokens must be i32[batch, steps], got undefined",
    () => model.loss(model.init(random.key(0)), untyped({}), { train: true, key: random.key(0) }),
  ],
  [
    "a routing where its counts belong",
    ConfigError,
    "loadMetrics: takes the counts of a routing, a tensor [E], got { experts, ",
    () => loadMetrics(untyped(record())),
  ],
  [
    "a model that is none",
    ConfigError,
    "train: model must be an object with the functions init and loss",
    () => train(untyped({ ...run, model: {} })),
  ],
  [
    "nothing to resume from",
    ConfigError,
    "train: resume needs checkpoint, the directory to go on from",
    () => train({ ...run, resume: true }),
  ],
  [
    "a text too short",
    ConfigError,
    "book.txt is too short: 2 characters make a part of 1 to train on and 1 to judge by, and each must have 5; give a longer text",
    () => corpusOf("ab", "book.txt", { atLeast: 5 }),
  ],
  [
    "an empty text",
    ConfigError,
    "book.txt is empty; give a text to learn from",
    () => corpusOf("", "book.txt", { atLeast: 5 }),
  ],
  [
    "a share above the whole",
    ConfigError,
    "corpusOf: heldOutShare must be a number of at least 0 and below 1, got 1.5",
    () => corpusOf("abcdefgh", "book.txt", { atLeast: 1, heldOutShare: 1.5 }),
  ],
  [
    "an empty file",
    FormatError,
    "book.txt is empty; give a text to learn from",
    () => decodeText(new Uint8Array(), "book.txt"),
  ],
  [
    "bytes that are not UTF-8",
    FormatError,
    "book.txt is not UTF-8 text; convert it, for example with iconv",
    () => decodeText(Uint8Array.of(0x63, 0xe9), "book.txt"),
  ],
  [
    "fewer tokens than a sequence",
    ConfigError,
    "randomBatches: a sequence of 5 and its last target need 6 tokens, but the text has 2; give",
    () => randomBatches(Int32Array.of(1, 2), { batch: 1, context: 5 }, 0),
  ],
  [
    "batches of no size",
    ConfigError,
    "randomBatches: batch must be a positive integer, got -1",
    () => randomBatches(Int32Array.of(1, 2), { batch: -1, context: 1 }, 0),
  ],
])("%s: one line that says what to do", (_, kind, message, act) => {
  expect(act).toThrow(kind);
  expect(act).toThrow(message);
  expect(act).toThrow(/^[^\n]+$/);
});

test.each<[what: string, kind: new () => Error, message: string, act: () => Promise<unknown>]>([
  [
    "a checkpoint that is not there",
    ConfigError,
    "/nowhere/run holds no checkpoint",
    () => loadCheckpoint("/nowhere/run", {}),
  ],
  [
    "a file that is not there",
    ConfigError,
    "cannot read /nowhere/a.safetensors: there is no such file",
    () => loadSafetensors("/nowhere/a.safetensors"),
  ],
  [
    "bytes that are no safetensors",
    FormatError,
    "the given bytes: not a safetensors file: 3 bytes are too few for a header",
    () => loadSafetensors(new Uint8Array(3)),
  ],
  [
    "a number of batches that is none",
    ConfigError,
    "evaluate: batches must be a positive integer, got 0",
    () => judge(0),
  ],
])("%s is refused when it is read", async (_, kind, message, act) => {
  await expect(act()).rejects.toThrow(kind);
  await expect(act()).rejects.toThrow(message);
});

test("a mixture of no tokens gives no outputs, and losses that are 0 and not NaN", async () => {
  const losses = { importance: importanceLoss, load: loadLoss, switch: switchLoss } as const;
  const mixture = moe({ ...sizes, router: noisyTopK({ k: 1 }), losses });
  const { output, balance } = mixture.apply(mixture.init(random.key(0)), zeros([0, 2]), {
    train: true,
    key: random.key(1),
  });
  expect(output.shape).toEqual([0, 2]);
  expect(await balance.item()).toBe(0);
});
