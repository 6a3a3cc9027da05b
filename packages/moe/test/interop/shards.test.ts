import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError } from "@switchyard/tensor";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { TensorSource } from "../../src/interop/safetensors.ts";
import { shardFiles, openShards } from "../../src/interop/shards.ts";

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

const values = (i: number): Float32Array => Float32Array.of(i, 0.5);
const tensors = new Map<string, TensorSource>(
  ["a", "b", "c", "d"].map((name, i) => [name, { dtype: "f32", shape: [2], read: () => Promise.resolve(values(i)) }]),
);
const write = async (limit: number) => {
  for (const [name, bytes] of shardFiles(tensors, { floats: "F32", limit })) await writeFile(join(dir, name), bytes);
};

test.each([
  [1000, ["model.safetensors"]],
  [16, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]],
])("tensors of 8 bytes each in files of at most %i come back", async (limit, names) => {
  await write(limit);
  expect((await readdir(dir)).toSorted()).toEqual(names);
  const opened = await openShards(dir);
  expect([...opened.entries.keys()].toSorted()).toEqual(["a", "b", "c", "d"]);
  for (const [i, name] of [...tensors.keys()].entries()) expect((await opened.read(name)).data).toEqual(values(i));
  await opened.close();
});

test("a tensor above the limit has a file to itself, and halves take half", async () => {
  await write(1);
  expect((await readdir(dir)).length).toBe(5);
  expect([...shardFiles(tensors, { floats: "BF16", limit: 8 }).keys()].length).toBe(3);
});

test("a directory without tensors is a ConfigError", async () => {
  await expect(openShards(dir)).rejects.toThrow(ConfigError);
});

test.each<[string, string | object, RegExp]>([
  ["no JSON", "{", /must hold a weight_map/],
  ["without a map", {}, /must hold a weight_map/],
  ["leading out of its directory", { weight_map: { a: "../a.safetensors" } }, /must hold a weight_map/],
  ["naming a file that is not there", { weight_map: { a: "b.safetensors" } }, /b\.safetensors: there is no such file/],
  [
    "naming a file without the tensor",
    { weight_map: { e: "model-00001-of-00002.safetensors" } },
    /places "e" in .*, which has no such tensor/,
  ],
])("an index %s is refused", async (_, index, message) => {
  await write(16);
  await writeFile(join(dir, "model.safetensors.index.json"), typeof index === "string" ? index : JSON.stringify(index));
  const opening = openShards(dir);
  await expect(opening).rejects.toThrow(message);
  await expect(opening).rejects.toThrow(/files beside it|there is no such file|no such tensor/);
  if (!/no such file/.test(message.source)) await expect(opening).rejects.toThrow(FormatError);
});
