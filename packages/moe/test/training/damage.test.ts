// Files that were cut, changed, or could not be written: a clear error, and nothing lost.
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FormatError, init, tensor, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { adam, sgd } from "@switchyard/autograd";
import { loadCheckpoint, train } from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { stepsIn } from "../../src/training/history.ts";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

const model = {
  init: (_key: Key) => ({ w: zeros([3]) }),
  loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.sub(x).square().sum() }),
};
const options = () => ({
  model,
  data: (step: number) => tensor([step, 1, 2]),
  optimizer: sgd({ learningRate: 0.1 }),
  steps: 6,
  checkpoint: { dir: join(dir, "run"), every: 2 },
});
const like = { w: zeros([3]) };

const damages: [string, (checkpoint: string) => Promise<void>, RegExp][] = [
  ["cut short", (at) => truncate(join(at, "model.safetensors"), 60), /model\.safetensors: .* cut short or changed/],
  [
    "with one bit flipped",
    async (at) => {
      const path = join(at, "model.safetensors");
      const bytes = await readFile(path);
      bytes[bytes.length - 1] ^= 1;
      await writeFile(path, bytes);
    },
    /model\.safetensors: .* cut short or changed/,
  ],
  ["without one of its files", (at) => rm(join(at, "training.safetensors")), /training\.safetensors: there is no such/],
  [
    "with another number of steps",
    async (at) => {
      const path = join(at, "checkpoint.json");
      await writeFile(path, (await readFile(path, "utf8")).replace('"step": 6', '"step": 5'));
    },
    /checkpoint\.json was changed/,
  ],
  ["whose manifest is empty", (at) => writeFile(join(at, "checkpoint.json"), ""), /checkpoint\.json is not that of a/],
];

describe("a checkpoint", () => {
  test.each(damages)("%s is an error that offers the one before, which then goes on", async (_, damage, message) => {
    const end = await train(options()).finish();
    const run = join(dir, "run");
    await damage(join(run, "step-6"));
    const resumed = () => train({ ...options(), resume: true }).finish();
    await expect(resumed()).rejects.toThrow(FormatError);
    await expect(resumed()).rejects.toThrow(message);
    await expect(resumed()).rejects.toThrow(/run\/step-4 is older and sound: move .*run\/step-6 away/);
    expect(await stepsIn(run)).toEqual([4, 6]); // nothing was touched
    await rm(join(run, "step-6"), { recursive: true });
    expect((await resumed()).loss).toBe(end.loss);
  });

  test("is not offered if it is damaged itself", async () => {
    await train(options()).finish();
    const run = join(dir, "run");
    for (const step of [4, 6]) await truncate(join(run, `step-${step}`, "model.safetensors"), 10);
    await expect(loadCheckpoint(run, like)).rejects.toThrow(/there is no sound one beside it/);
  });

  test("of another model or optimizer is refused for what it is, with no talk of damage", async () => {
    await train(options()).finish();
    const other = { ...model, init: () => ({ w: zeros([4]) }) };
    const data = () => tensor([0, 0, 0, 0]);
    await expect(train({ ...options(), model: other, data, resume: true }).finish()).rejects.toThrow(
      /"w" is f32\[3\], wanted f32\[4\]; was it saved from another model\?$/,
    );
    await expect(
      train({ ...options(), optimizer: adam({ learningRate: 0.1 }), resume: true }).finish(),
    ).rejects.toThrow(/has no tensor "state\.mean\.w"/);
    expect(await stepsIn(join(dir, "run"))).toEqual([4, 6]);
  });
});

test("a disk that fills up ends the run with its reason, and the checkpoint before stays", async () => {
  // A limit on the size of files stands in for the disk: it is the same failed write, and needs no disk.
  const child = fileURLToPath(new URL("./writer.ts", import.meta.url));
  const command = `trap '' XFSZ; ulimit -f 24; exec "${process.execPath}" --conditions=source "${child}" "${dir}"`;
  const { code, err } = await new Promise<{ code: unknown; err: string }>((resolve) =>
    execFile("bash", ["-c", command], (error, _, stderr) => resolve({ code: error?.code, err: stderr })),
  );
  expect([code, err]).toEqual([
    1,
    expect.stringMatching(/ConfigError: cannot write .*step-2: the file would be larger/),
  ]);
  expect((await readdir(dir)).toSorted()).toEqual(["metrics.jsonl", "step-1"]);
  const loaded = await loadCheckpoint(join(dir, "step-1"), { w: zeros([1]) });
  expect(await loaded.w.data()).toEqual(Float32Array.of(1));
});
