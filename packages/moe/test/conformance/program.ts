/**
 * A process that computes a fixed set of results on `wasm`, once for each of the options it is given, and says what they came to:
 * `node program.ts '[{"threads":1},{"threads":4}]' [reference]` prints one line of JSON for each, a `Report`. The results are large enough
 * that every routine, and most loops, are shared among threads. Public API and plain JavaScript only, so that with its types stripped it
 * runs on the built packages and an old Node.
 */
import { createHash } from "node:crypto";
import {
  argMax,
  argsort,
  attention,
  concat,
  cummax,
  cumprod,
  cumsum,
  devices,
  gather,
  groupedMatmul,
  init,
  layerNorm,
  logSumExp,
  random,
  realize,
  rmsNorm,
  scatter,
  segmentMax,
  segmentSum,
  shutdown,
  softmax,
  tensor,
  topK,
  where,
  type DeviceName,
  type InitOptions,
  type Tensor,
  type TypedArray,
} from "@switchyard/tensor";
import { adamw, clipByGlobalNorm, treeLeaves, valueAndGrad } from "@switchyard/autograd";
import { transformer } from "@switchyard/moe";

export interface Report {
  readonly node: string;
  /** What the device says of itself. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
  /** Of the bits of each result. */
  readonly hashes: Readonly<Record<string, string>>;
  /** Results further off the reference than their bound allows, with both in ulps of the result's largest element; if it was asked for. */
  readonly off?: Readonly<Record<string, { readonly ulps: number; readonly bound: number }>>;
}

/** How far results may be off the reference, in ulps of the largest element; what is not named must be equal to it. */
const bounds: { readonly [name: string]: number } = {
  normal: 8,
  elementwise: 8,
  sums: 16,
  scans: 32,
  rows: 8,
  products: 32,
  grouped: 32,
  scatterAdd: 8,
  attention: 32,
  loss: 32,
  gradients: 256,
  updated: 64,
};

/** Numbers on [-1, 1), the same everywhere. */
function numbers(seed: number, size: number): number[] {
  let state = seed;
  return Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Every routine, and loops of every kind. */
function routines(device: DeviceName): { [name: string]: Tensor[] } {
  const make = (seed: number, shape: readonly number[]): Tensor =>
    tensor(
      numbers(
        seed,
        shape.reduce((a, b) => a * b, 1),
      ),
      { shape, device, dtype: "f32" },
    );
  const whole = (seed: number, shape: readonly number[], below: number): Tensor =>
    make(seed, shape)
      .add(1)
      .mul(below / 2)
      .cast("i32");
  const x = make(1, [150, 170]);
  const positive = x.add(1); // sums of both signs have no bound in ulps of themselves
  const many = make(2, [40_000]);
  const ties = whole(3, [60, 500], 9);
  const rows = make(4, [600, 40]); // [m, k], in 9 groups, two of them empty, and a rest
  const offsets = tensor([0, 7, 7, 300, 301, 380, 500, 500, 560, 590], { dtype: "i32", device });
  const [q, k, v] = [5, 6, 7].map((seed) => make(seed, [2, 3, 65, 24]));
  const updates = make(8, [3000, 18]);
  const to = whole(9, [3000], 100);
  const ordered = gather(to, argsort(to), 0);
  const key = random.key(7, { device });
  return {
    bits: [random.bits(key, [20_001]), random.uniform(key, [9000]), random.permutation(key, 5000)],
    normal: [random.normal(key, [9000])],
    elementwise: [
      many.exp().add(many.tanh().mul(many.sin())).div(many.abs().add(0.5)),
      many.erf().sub(many.abs().add(1e-3).log()).mul(many.sigmoid()),
      where(many.gt(0), many.gelu(), many.softplus()),
      many.cast("f64").expm1().cast("f32"),
    ],
    views: [
      x.transpose().reshape([-1]).slice([3, null, 2]),
      concat([x, x.flip(1)], 1),
      x.slice([5, 140], [null, null, -3]),
    ],
    sums: [
      many.abs().sum(),
      many.square().cast("f64").sum(),
      positive.sum(0),
      positive.mean(1),
      x.variance(0),
      x.norm(),
    ],
    extremes: [x.max(0), x.min(1), many.max(), argMax(x, 0), argMax(x, 1), x.argMin(-1)],
    scans: [cumsum(x, 1), cumsum(x, 0), cumprod(x.add(1.5), 1), cummax(x, -1)],
    rows: [softmax(x.mul(5)), x.logSoftmax(), logSumExp(x, 0), layerNorm(x), rmsNorm(x)],
    products: [
      x
        .matmul(make(10, [170, 130]))
        .add(make(11, [130]))
        .gelu(),
      x.transpose().matmul(make(12, [150, 33])),
      make(13, [4, 61, 50]).matmul(make(14, [4, 70, 50]).transpose()),
      x.matmul(make(15, [170])),
      x
        .cast("f64")
        .matmul(make(16, [170, 40]).cast("f64"))
        .cast("f32"),
    ],
    integers: [ties.matmul(ties.transpose()), ties.sum(1), ties.cumsum(1), ties.mod(4)],
    grouped: [
      groupedMatmul(rows, make(17, [9, 40, 56]), offsets),
      groupedMatmul(rows, make(18, [600, 56]), offsets, { mode: "contract" }),
      groupedMatmul(gather(make(19, [200, 40]), whole(20, [600], 200), 0), make(21, [9, 40, 56]), offsets).relu(),
    ],
    order: [
      argsort(ties),
      argsort(many, -1, { descending: true }),
      ...Object.values(topK(ties, 7)),
      topK(many, 40).indices,
    ],
    scatterAdd: [
      scatter(updates, to, [100, 18]),
      scatter(updates, ordered, [100, 18], { sorted: true }),
      segmentSum(updates, to, 100),
    ],
    scatter: [
      scatter(updates, to, [100, 18], { op: "max" }),
      scatter(updates, random.permutation(key, 3000), [3000, 18], { op: "set", unique: true }),
      segmentMax(updates, to, 100),
      gather(updates, to.reshape([30, 100]), 0),
    ],
    attention: [attention(q, k, v, { causal: true }), attention(q, k, v)],
  };
}

const model = transformer({
  vocab: 50,
  dim: 32,
  layers: 2,
  heads: 4,
  hidden: 24,
  context: 32,
  moe: { experts: 8, k: 2 },
  activation: "swiglu",
});

/** Two training steps of a language model with mixtures: its loss, the routing, its gradients, and what the optimizer makes of them. */
async function training(device: DeviceName): Promise<{ [name: string]: Tensor[] }> {
  const tokens = tensor(
    numbers(30, 6 * 33).map((u) => Math.floor((u + 1) * 25)),
    { shape: [6, 33], dtype: "i32", device },
  );
  const batch = { tokens: tokens.slice([], [0, 32]), targets: tokens.slice([], [1, 33]) };
  // A large eps keeps the first updates smooth: with a small one they are the gradient's sign, however small it is.
  const optimizer = adamw({ learningRate: 1e-2, eps: 1e-2, weightDecay: 0.1 });
  const lossOf: typeof model.loss = (...args) => model.loss(...args);
  let params = model.init(random.key(1, { device }));
  let state = optimizer.init(params);
  const made: { [name: string]: Tensor[] } = { loss: [], choices: [], gradients: [] };
  for (let step = 0; step < 2; step++) {
    const options = { train: true, key: random.key(step + 2, { device }) };
    const [{ loss, routings }, grads] = valueAndGrad(lossOf)(params, batch, options);
    [params, state] = optimizer.update(params, clipByGlobalNorm(grads, 1), state);
    made.loss.push(loss);
    made.choices.push(...routings.flatMap(({ experts, offsets }) => [experts, offsets]));
    made.gradients.push(...treeLeaves(grads));
    await realize([made, params, state]);
  }
  return { ...made, updated: treeLeaves(params) };
}

type Results = ReadonlyMap<string, readonly TypedArray[]>;

async function compute(device: DeviceName): Promise<Results> {
  const made = routines(device);
  await realize(made);
  const results = new Map<string, TypedArray[]>();
  for (const [name, tensors] of Object.entries({ ...made, ...(await training(device)) }))
    results.set(name, await Promise.all(tensors.map((t) => t.data())));
  return results;
}

function hash(arrays: readonly TypedArray[]): string {
  const sha = createHash("sha256");
  for (const { buffer, byteOffset, byteLength } of arrays) sha.update(new Uint8Array(buffer, byteOffset, byteLength));
  return sha.digest("hex").slice(0, 12);
}

/** The greatest difference, in f32 ulps of the largest element. */
function ulpsOff(got: TypedArray, wanted: TypedArray): number {
  if (got.length !== wanted.length) return Infinity;
  let [worst, largest] = [0, 2 ** -126];
  for (let i = 0; i < wanted.length; i++) {
    if (Object.is(got[i], wanted[i])) continue;
    worst = Math.max(worst, Number.isNaN(got[i] - wanted[i]) ? Infinity : Math.abs(got[i] - wanted[i]));
  }
  for (const value of wanted) largest = Math.max(largest, Math.abs(value));
  return worst / largest / 2 ** -23;
}

function offOf(results: Results, reference: Results): NonNullable<Report["off"]> {
  const off: Record<string, { ulps: number; bound: number }> = {};
  for (const [name, arrays] of results) {
    const ulps = Math.max(...arrays.map((array, i) => ulpsOff(array, reference.get(name)![i])));
    const bound = bounds[name] ?? 0;
    if (!(ulps <= bound)) off[name] = { ulps, bound };
  }
  return off;
}

async function report(options: InitOptions, reference: Results | undefined): Promise<Report> {
  await init("wasm", options);
  const results = await compute("wasm");
  const { details } = (await devices()).find(({ name }) => name === "wasm")!;
  await shutdown();
  const hashes = Object.fromEntries([...results].map(([name, arrays]) => [name, hash(arrays)]));
  return { node: process.version, details, hashes, ...(reference && { off: offOf(results, reference) }) };
}

const [options, compared] = process.argv.slice(2);
await init("cpu");
const reference = compared === "reference" ? await compute("cpu") : undefined;
for (const each of JSON.parse(options) as InitOptions[]) console.log(JSON.stringify(await report(each, reference)));
