import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fc, test as property } from "@fast-check/vitest";
import { ConfigError, FormatError, init, tensor, type DType, type TypedArray } from "@switchyard/tensor";
import { loadSafetensors, saveSafetensors } from "@switchyard/moe";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeSafetensors, encodeSafetensors, type HostTensor } from "../../src/interop/safetensors.ts";

let dir: string;
beforeAll(async () => {
  await init("cpu");
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
});
afterAll(() => rm(dir, { recursive: true }));

const arrayOf: { [D in DType]: (shape: number) => fc.Arbitrary<TypedArray> } = {
  f32: (n) => fc.float32Array({ minLength: n, maxLength: n }),
  f64: (n) => fc.float64Array({ minLength: n, maxLength: n }),
  i32: (n) => fc.int32Array({ minLength: n, maxLength: n }),
  u32: (n) => fc.uint32Array({ minLength: n, maxLength: n }),
  bool: (n) => fc.uint8Array({ minLength: n, maxLength: n, max: 1 }),
};
const hostTensor: fc.Arbitrary<HostTensor> = fc
  .tuple(fc.constantFrom<DType>("f32", "f64", "i32", "u32", "bool"), fc.array(fc.nat({ max: 3 }), { maxLength: 3 }))
  .chain(([dtype, shape]) => arrayOf[dtype](shape.reduce((a, b) => a * b, 1)).map((data) => ({ dtype, shape, data })));

/** A file by hand: its header and its body. */
function fileOf(header: unknown, body: Uint8Array | number[] = []): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + json.length + body.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  out.set(body, 8 + json.length);
  return out;
}
const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe("safetensors", () => {
  property.prop([
    fc.dictionary(
      fc.string().filter((name) => name !== "__metadata__"),
      hostTensor,
    ),
    fc.dictionary(fc.string(), fc.string()),
  ])("what is written is what is read", (tensors, metadata) => {
    const entries = new Map(Object.entries(tensors));
    const read = decodeSafetensors(encodeSafetensors(entries, metadata), "test");
    expect(Object.fromEntries(read.tensors)).toEqual(Object.fromEntries(entries));
    expect({ ...read.metadata }).toEqual({ ...metadata });
  });

  test("every tensor of a written file is aligned to its element", () => {
    const bytes = encodeSafetensors(
      new Map<string, HostTensor>([
        ["a", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }],
        ["b", { dtype: "f64", shape: [1], data: Float64Array.of(0.1) }],
        ["c", { dtype: "i32", shape: [1], data: Int32Array.of(-5) }],
      ]),
    );
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as object;
    expect(Object.keys(header)).toEqual(["b", "c", "a"]);
  });

  test("half floats are read as f32", () => {
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0xfc00, 0x7e00, 0x3555, 0x0400);
    const brains = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x3eab);
    const body = [...new Uint8Array(halves.buffer), ...new Uint8Array(brains.buffer)];
    const { tensors } = decodeSafetensors(
      fileOf({ half: entry("F16", [8], 0, 16), brain: entry("BF16", [4], 16, 24) }, body),
      "test",
    );
    expect([...tensors.get("half")!.data]).toEqual([
      1,
      -2,
      2 ** -24,
      Infinity,
      -Infinity,
      NaN,
      0.333251953125,
      2 ** -14,
    ]);
    expect([...tensors.get("brain")!.data]).toEqual([1, -2, Infinity, 0.333984375]);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["too few bytes", Uint8Array.of(1, 2, 3), /3 bytes are too few/],
    ["a header longer than the file", fileOf("{}").subarray(0, 9), /the header would have 2 bytes of 1/],
    ["a header that is no JSON", fileOf("{nope"), /the header is not a JSON object/],
    ["a header that is an array", fileOf([]), /the header is not a JSON object/],
    ["an entry without offsets", fileOf({ a: { dtype: "F32", shape: [1] } }), /needs dtype, shape and two/],
    ["a negative extent", fileOf({ a: entry("F32", [-1], 0, 4) }, [0, 0, 0, 0]), /needs dtype, shape and two/],
    ["an unknown dtype", fileOf({ a: entry("F8_E4M3", [1], 0, 1) }, [0]), /elements of F8_E4M3/],
    ["a wrong number of bytes", fileOf({ a: entry("F32", [2], 0, 4) }, [0, 0, 0, 0]), /takes 8 bytes but is given 4/],
    ["a cut body", fileOf({ a: entry("F32", [1], 0, 4) }, [0, 0]), /it ends within "a"/],
    ["bytes left over", fileOf({ a: entry("BOOL", [1], 0, 1) }, [0, 0]), /1 bytes follow the last tensor/],
    ["a gap", fileOf({ a: entry("BOOL", [1], 1, 2) }, [0, 0]), /begins at 1, not at 0/],
    [
      "an overlap",
      fileOf({ a: entry("BOOL", [2], 0, 2), b: entry("BOOL", [1], 1, 2) }, [0, 0]),
      /begins at 1, not at 2/,
    ],
    ["metadata that is no string", fileOf({ __metadata__: { a: 1 } }), /__metadata__ must hold strings/],
  ])("%s is a FormatError", (_, bytes, message) => {
    const read = () => decodeSafetensors(bytes, "x.safetensors");
    expect(read).toThrow(FormatError);
    expect(read).toThrow(message);
    expect(read).toThrow(/^x\.safetensors: /);
  });

  test("tensors come back from a file, a Blob and bytes", async () => {
    const path = join(dir, "some.safetensors");
    await saveSafetensors(path, { "a.b": tensor([[1, 2, 3]]), c: tensor([true, false]) });
    const bytes = await readFile(path);
    for (const source of [path, new Blob([bytes]), new Uint8Array(bytes)]) {
      const { "a.b": a, c } = await loadSafetensors(source);
      expect(await a.toArray()).toEqual([[1, 2, 3]]);
      expect(await c.toArray()).toEqual([true, false]);
    }
    expect(await readdir(dir)).toEqual(["some.safetensors"]);
  });

  test("a file that is not there is a ConfigError that names it", async () => {
    await expect(loadSafetensors(join(dir, "none"))).rejects.toThrow(ConfigError);
    await expect(loadSafetensors(join(dir, "none"))).rejects.toThrow(/none: there is no such file/);
  });

  test("a name of the format's own is refused, and nothing is written", async () => {
    await expect(saveSafetensors(join(dir, "bad"), { __metadata__: tensor(1) })).rejects.toThrow(ConfigError);
    expect(await readdir(dir)).not.toContain("bad");
  });

  test("a file that cannot be written leaves no draft behind", async () => {
    const inTheWay = join(dir, "file");
    await writeFile(inTheWay, "");
    await expect(saveSafetensors(join(inTheWay, "x"), { a: tensor(1) })).rejects.toThrow(ConfigError);
    expect((await readdir(dir)).toSorted()).toEqual(["file", "some.safetensors"]);
  });
});
