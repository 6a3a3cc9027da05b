import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { concat, DisposedError, init, realize, shutdown, tensor, type Tensor } from "../../src/index.ts";

afterEach(() => shutdown());

/** A handle, what it should hold, and every handle it was made from, itself included. */
interface Model {
  readonly t: Tensor;
  readonly value: readonly number[];
  readonly from: ReadonlySet<Model>;
  ended: boolean;
}

function model(t: Tensor, value: readonly number[], ...parents: Model[]): Model {
  const from = new Set(parents.flatMap((parent) => [...parent.from]));
  const made: Model = { t, value, from, ended: false };
  from.add(made);
  return made;
}

const size = 6;
const leaf = (seed: number): Model => {
  const value = Array.from({ length: size }, (_, i) => (seed * 7 + i * 5) % 9);
  return model(tensor(value), value);
};

/** Small whole numbers stay exact in f32, however often they are added. */
const bounded = (x: number): number => Math.max(-99, Math.min(x, 99));

/** The same arithmetic on tensors and on numbers. */
const pairwise = (scale: number) => (a: Model, b: Model) =>
  model(
    a.t.mul(scale).add(b.t).clip(-99, 99),
    a.value.map((x, i) => bounded(x * scale + b.value[i])),
    a,
    b,
  );

/** Elementwise, so in place if donated; reversed; a view; parts; a reduction. */
const makers: ((a: Model, b: Model) => Model)[] = [
  pairwise(1),
  pairwise(-2),
  (a) => model(a.t.flip(0), a.value.toReversed(), a),
  (a) => model(a.t.stopGradient(), a.value, a),
  (a, b) => model(concat([b.t.slice([3]), a.t.slice([0, 3])]), [...b.value.slice(3), ...a.value.slice(0, 3)], a, b),
  (a) => model(a.t.max().expandDims(0).broadcastTo([size]), Array(size).fill(Math.max(...a.value)), a),
];

/** Whatever depends on a handle that has ended may refuse; nothing else may. */
async function allowed(work: Promise<unknown>, on: readonly Model[]): Promise<void> {
  try {
    await work;
  } catch (error) {
    const excused = on.some((m) => [...m.from].some((x) => x.ended));
    if (!(error instanceof DisposedError) || !excused) throw error;
  }
}

const read = (m: Model): Promise<void> =>
  allowed(
    m.t.data().then((data) => expect([...data]).toEqual(m.value)),
    [m],
  );

const step = fc.record({ kind: fc.nat(11), a: fc.nat(), b: fc.nat() });
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function play(steps: readonly Step[]): Promise<void> {
  let models = [leaf(1), leaf(2)];
  const pending: Promise<void>[] = [];
  const end = (ended: readonly Model[]): void => {
    for (const m of ended) m.ended = true;
    models = models.filter((m) => !m.ended);
    if (models.length === 0) models.push(leaf(3));
  };
  for (const { kind, a: i, b: j } of steps) {
    const [a, b] = [models[i % models.length], models[j % models.length]];
    if (kind < makers.length) models.push(makers[kind](a, b));
    else if (kind === 6) pending.push(read(a));
    else if (kind === 7) pending.push(allowed(realize([a.t, b.t]), [a, b]));
    else if (kind === 8) {
      a.t.dispose();
      end([a]);
    } else if (kind === 9 && a !== b) {
      pending.push(allowed(realize({ a: a.t }, { donate: [b.t] }), [a]));
      end(isEnded(b.t) ? [b] : []);
    } else if (kind === 10) await Promise.resolve();
    else await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all([...pending, ...models.map(read)]);
}

function isEnded(t: Tensor): boolean {
  try {
    return !t.node;
  } catch {
    return true;
  }
}

for (const [device, options] of [
  ["cpu", {}],
  ["wasm", { threads: 0 }],
  ["wasm", { threads: 2 }],
] as const) {
  test(`however building, realizing, reading, donating and disposing mix, each read is right or refused for a reason (${device} ${JSON.stringify(options)})`, async () => {
    await init(device, options);
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), play), {
      numRuns: process.env.SWITCHYARD_DEEP ? 3000 : 200,
    });
  });
}
