import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError, FormatError, init, random, tensor, zeros } from "@switchyard/tensor";
import { loadCheckpoint, saveCheckpoint } from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadTraining } from "../../src/training/checkpoint.ts";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

const params = () => ({
  w: random.normal(random.key(5), [2, 3]),
  layers: [{ b: tensor([1, 2]) }, { b: tensor([3, 4]) }],
  kind: "tiny",
});
const like = () => ({ w: zeros([2, 3]), layers: [{ b: zeros([2]) }, { b: zeros([2]) }], kind: "" });

describe("a checkpoint", () => {
  test("holds every leaf, bit for bit, and training apart from the parameters", async () => {
    const saved = params();
    const at = join(dir, "deep", "a");
    await saveCheckpoint(at, saved, { step: 7, mean: tensor([0.1]), frozen: null });
    expect((await readdir(at)).toSorted()).toEqual(["checkpoint.json", "model.safetensors", "training.safetensors"]);
    const loaded = await loadCheckpoint(at, like());
    expect([...(await loaded.w.data())]).toEqual([...(await saved.w.data())]);
    expect(await loaded.layers[1].b.toArray()).toEqual([3, 4]);
    expect(loaded.kind).toBe("tiny");
    const training = await loadTraining(at, { step: 0, mean: zeros([1]), frozen: null });
    expect([training.step, await training.mean.item(), training.frozen]).toEqual([7, Math.fround(0.1), null]);
  });

  test("holds f16, which goes back to f16 and f32 alone", async () => {
    const saved = tensor([0.1, 65504, -(2 ** -24), Infinity], { dtype: "f16" });
    await saveCheckpoint(dir, { w: saved });
    for (const dtype of ["f16", "f32"] as const) {
      const { w } = await loadCheckpoint(dir, { w: zeros([4], { dtype }) });
      expect([w.dtype, await w.data()]).toEqual([dtype, await saved.data()]);
    }
    await saveCheckpoint(dir, { w: tensor([0.1]) });
    await expect(loadCheckpoint(dir, { w: zeros([1], { dtype: "f16" }) })).rejects.toThrow(
      /"w" is f32\[1\], wanted f16\[1\]/,
    );
  });

  test("its parameters are an ordinary safetensors file, from a path or from bytes", async () => {
    await saveCheckpoint(dir, params());
    const path = join(dir, "model.safetensors");
    for (const source of [path, new Uint8Array(await readFile(path)), new Blob([await readFile(path)])])
      expect(await (await loadCheckpoint(source, like())).layers[0].b.toArray()).toEqual([1, 2]);
  });

  test("loads from the URL of its directory, or of its file, as well", async () => {
    const at = join(dir, "a checkpoint");
    await saveCheckpoint(at, params());
    for (const path of [at, join(at, "model.safetensors")])
      expect(await (await loadCheckpoint(pathToFileURL(path), like())).layers[0].b.toArray()).toEqual([1, 2]);
  });

  test("of several by step, the newest is loaded", async () => {
    for (const step of [9, 10, 2]) await saveCheckpoint(join(dir, `step-${step}`), { step: tensor(step) });
    expect(await (await loadCheckpoint(dir, { step: zeros([]) })).step.item()).toBe(10);
  });

  test("replaces an earlier one, and leaves nothing else behind", async () => {
    const at = join(dir, "a");
    await saveCheckpoint(at, params(), { step: 1 });
    await saveCheckpoint(at, { x: tensor(1) });
    expect((await readdir(at)).toSorted()).toEqual(["checkpoint.json", "model.safetensors"]);
    expect(await readdir(dir)).toEqual(["a"]);
  });

  test("does not replace what is no checkpoint", async () => {
    await writeFile(join(dir, "thesis.txt"), "");
    await expect(saveCheckpoint(dir, params())).rejects.toThrow(/holds something that is no checkpoint/);
    expect(await readdir(dir)).toEqual(["thesis.txt"]);
  });

  test("a leaf that no file can hold is a ConfigError with its path, and nothing is written", async () => {
    const bad = { layers: [{ rate: NaN }] };
    await expect(saveCheckpoint(join(dir, "a"), bad)).rejects.toThrow(/layers\.0\.rate is NaN/);
    expect(await readdir(dir)).toEqual([]);
  });

  test("a failed write leaves the checkpoint before", async () => {
    const at = join(dir, "a");
    await saveCheckpoint(at, params());
    const gone = tensor([1]);
    gone.dispose();
    await expect(saveCheckpoint(at, { gone })).rejects.toThrow(/disposed/);
    expect((await loadCheckpoint(at, like())).kind).toBe("tiny");
    expect(await readdir(dir)).toEqual(["a"]);
  });

  test("a kill at the moment of replacement leaves the checkpoint before, and the next write goes well", async () => {
    const at = join(dir, "a");
    await saveCheckpoint(at, params());
    await rename(at, join(dir, ".a.old")); // what the writer does before the new one gets the name
    await cp(join(dir, ".a.old"), join(dir, ".a.12345678"), { recursive: true }); // its draft
    expect((await loadCheckpoint(at, like())).kind).toBe("tiny");
    await saveCheckpoint(at, { ...params(), kind: "next" });
    await saveCheckpoint(at, { ...params(), kind: "last" });
    expect((await loadCheckpoint(at, like())).kind).toBe("last");
    expect((await readdir(dir)).toSorted()).toEqual([".a.12345678", "a"]);
  });

  test("tensors beyond those asked for are left alone", async () => {
    await saveCheckpoint(dir, params());
    expect(Object.keys(await loadCheckpoint(dir, { w: zeros([2, 3]) }))).toEqual(["w"]);
  });

  test.each<[string, () => object, RegExp]>([
    ["a tensor it lacks", () => ({ v: zeros([1]) }), /has no tensor "v"; was it saved from another model/],
    ["another shape", () => ({ w: zeros([3, 2]) }), /"w" is f32\[2,3\], wanted f32\[3,2\]/],
    ["another dtype", () => ({ w: zeros([2, 3], { dtype: "i32" }) }), /"w" is f32\[2,3\], wanted i32\[2,3\]/],
  ])("asked for %s, it is a FormatError", async (_, wanted, message) => {
    await saveCheckpoint(dir, params());
    await expect(loadCheckpoint(dir, wanted())).rejects.toThrow(FormatError);
    await expect(loadCheckpoint(dir, wanted())).rejects.toThrow(message);
  });

  test("a directory without one is a ConfigError, one with a damaged one a FormatError", async () => {
    await expect(loadCheckpoint(dir, like())).rejects.toThrow(ConfigError);
    await mkdir(join(dir, "step-1"));
    await writeFile(join(dir, "step-1", "checkpoint.json"), "{");
    await expect(loadCheckpoint(dir, like())).rejects.toThrow(FormatError);
    await saveCheckpoint(join(dir, "b"), params());
    await expect(loadTraining(join(dir, "b"), { step: 0 })).rejects.toThrow(/has no part "training"/);
  });
});
