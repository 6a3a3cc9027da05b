import { init, random, shutdown, tensor, type DeviceName, type Tensor } from "@switchyard/tensor";
import { grad, ledger, treeMap, treeLeaves, treePaths, type LedgerEntry } from "@switchyard/autograd";
import { importanceLoss, moe, softmaxTopK, type Routing } from "@switchyard/moe";
import { afterAll, beforeAll, expect, test } from "vitest";

beforeAll(async () => void (await init("webgpu")));
afterAll(() => shutdown());

const layer = moe({
  dim: 6,
  hidden: 8,
  experts: 4,
  router: softmaxTopK({ k: 2 }),
  losses: { importance: (r: Routing) => importanceLoss(r, { weight: 0.1 }) },
});
type Params = ReturnType<typeof layer.init>;
const lossOf = (x: Tensor) => (params: Params) => {
  const { output, balance } = layer.apply(params, x);
  return output.square().mean().add(balance);
};

/** The same parameters and tokens on every device: those of cpu. */
async function madeOn(device: DeviceName): Promise<{ params: Params; x: Tensor }> {
  const made = layer.init(random.key(1, { device: "cpu" }));
  const x = random.normal(random.key(2, { device: "cpu" }), [16, 6]);
  const values = new Map<Tensor, ArrayLike<number>>();
  for (const t of [...treeLeaves(made), x]) values.set(t, await t.data());
  const onDevice = (t: Tensor): Tensor => tensor(Float32Array.from(values.get(t)!), { shape: t.shape, device });
  return { params: treeMap(onDevice, made), x: onDevice(x) };
}

const bookOn = async (device: DeviceName) => {
  const { params, x } = await madeOn(device);
  return { params, x, book: await ledger(lossOf(x))(params, { marks: ["combine"], explain: false }) };
};
const partsByClass = ({ parts }: LedgerEntry) => new Map(parts.map((part) => [JSON.stringify(part.class), part]));

/** How far apart, relative to the larger of the two norms. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const norm = (x: ArrayLike<number>): number => Math.hypot(...Array.from(x));
  return norm(Array.from(a, (value, i) => value - b[i])) / Math.max(norm(a), norm(b), 1e-30);
}

test("the ledger of a mixture is that of cpu and wasm, part by part, and its parts add up to the gradient", async () => {
  const [gpu, ...others] = [await bookOn("webgpu"), await bookOn("cpu"), await bookOn("wasm")];
  const places = [...gpu.book.parameters, ...gpu.book.marks];
  for (const { book } of others) {
    expect([...book.parameters, ...book.marks]).toEqual(places);
    expect(gpu.book.loss).toBeCloseTo(book.loss, 5);
    for (const where of places) {
      const [ours, theirs] = [gpu.book, book].map((b) => partsByClass(b.of(where)));
      expect([...ours.keys()].toSorted()).toEqual([...theirs.keys()].toSorted());
      for (const [cls, { elements, share }] of ours) {
        expect(distance(elements, theirs.get(cls)!.elements)).toBeLessThan(1e-4);
        expect(share).toBeCloseTo(theirs.get(cls)!.share, 3);
      }
    }
  }
  const plain = grad(lossOf(gpu.x))(gpu.params);
  const gradients = await Promise.all(treeLeaves(plain).map((t) => t.data()));
  for (const [i, path] of treePaths(plain).entries()) {
    const entry = gpu.book.of(path);
    expect(distance(await entry.total.data(), gradients[i])).toBeLessThan(1e-5);
    expect(entry.parts.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 4);
  }
});

test("exact zeros have the same reasons there, those that are too small for f32 too", async () => {
  const reasons = async (device: DeviceName) => {
    const w = tensor([-1, 2, -200, 1e-30], { device });
    const f = (p: { w: Tensor }): Tensor =>
      p.w
        .relu()
        .slice([0, 2])
        .sum()
        .add(p.w.exp().slice([2, 3]).sum())
        .add(p.w.slice([3, 4]).mul(1e-30).mul(1e-30).sum());
    const { why } = (await ledger(f)({ w })).of("w");
    return why!.map(({ reason, elements }) => `${reason} ${elements}`).toSorted();
  };
  const onGpu = await reasons("webgpu");
  expect(onGpu).toContain("saturated 1");
  expect(onGpu.filter((reason) => reason.startsWith("underflow"))).toHaveLength(2);
  expect(onGpu).toEqual(await reasons("cpu"));
});
