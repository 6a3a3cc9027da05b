import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fc, test as property } from "@fast-check/vitest";
import { ConfigError, FormatError, init, tensor, type DType, type TypedArray } from "@switchyard/tensor";
import { loadSafetensors, saveSafetensors } from "@switchyard/moe";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FloatFormat } from "../../src/interop/elementTypes.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  openSafetensors,
  type HostTensor,
} from "../../src/interop/safetensors.ts";
import { fuzz } from "./fuzz.ts";

let dir: string;
beforeAll(async () => {
  await init("cpu");
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
});
afterAll(() => rm(dir, { recursive: true }));

const arrayOf: { [D in Exclude<DType, "f16">]: (shape: number) => fc.Arbitrary<TypedArray> } = {
  f32: (n) => fc.float32Array({ minLength: n, maxLength: n }),
  f64: (n) => fc.float64Array({ minLength: n, maxLength: n }),
  i32: (n) => fc.int32Array({ minLength: n, maxLength: n }),
  u32: (n) => fc.uint32Array({ minLength: n, maxLength: n }),
  bool: (n) => fc.uint8Array({ minLength: n, maxLength: n, max: 1 }),
};
const hostTensor: fc.Arbitrary<HostTensor> = fc
  .tuple(
    fc.constantFrom<Exclude<DType, "f16">>("f32", "f64", "i32", "u32", "bool"),
    fc.array(fc.nat({ max: 3 }), { maxLength: 3 }),
  )
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
/** Says that its header has more bytes than the format allows, and has them. */
function hugeHeader(): Uint8Array {
  const out = new Uint8Array(8 + 100_000_001);
  new DataView(out.buffer).setBigUint64(0, 100_000_001n, true);
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

  test("integers of 8, 16 and 64 bits are read as 32", () => {
    const body = [
      ...new Uint8Array(BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n).buffer),
      ...new Uint8Array(BigUint64Array.of(2n ** 32n - 1n).buffer),
      ...new Uint8Array(Int16Array.of(-32768).buffer),
      ...new Uint8Array(Uint16Array.of(65535).buffer),
      0x80,
      0xff,
    ];
    const { tensors } = decodeSafetensors(
      fileOf(
        {
          i64: entry("I64", [2], 0, 16),
          u64: entry("U64", [1], 16, 24),
          i16: entry("I16", [1], 24, 26),
          u16: entry("U16", [1], 26, 28),
          i8: entry("I8", [1], 28, 29),
          u8: entry("U8", [], 29, 30),
        },
        body,
      ),
      "test",
    );
    const read = Object.fromEntries([...tensors].map(([name, { dtype, data }]) => [name, [dtype, ...data]]));
    expect(read).toEqual({
      i64: ["i32", -(2 ** 31), 2 ** 31 - 1],
      u64: ["u32", 2 ** 32 - 1],
      i16: ["i32", -32768],
      u16: ["u32", 65535],
      i8: ["i32", -128],
      u8: ["u32", 255],
    });
  });

  property.prop([fc.float32Array({ maxLength: 20 })])(
    "floats written as halves are the nearest, ties to even",
    (data) => {
      const round = (floats: FloatFormat, values: Float32Array) => {
        const tensors = new Map<string, HostTensor>([["x", { dtype: "f32", shape: [values.length], data: values }]]);
        return [...decodeSafetensors(encodeSafetensors(tensors, {}, floats), "test").tensors.get("x")!.data];
      };
      const nearestBrain = (x: number) => {
        // Two neighbours: the upper half of the bits, and the next one away from zero.
        const bits = new Uint32Array(Float32Array.of(x).buffer)[0];
        const value = (upper: number) => new Float32Array(Uint32Array.of(upper << 16).buffer)[0];
        const [low, high] = [bits >>> 16, (bits >>> 16) + 1];
        const over = (bits & 0xffff) - 0x8000;
        return Number.isNaN(x) ? NaN : value(over > 0 || (over === 0 && low % 2 === 1) ? high : low);
      };
      expect(round("F16", data)).toEqual([...new Float16Array(data)]);
      expect(round("BF16", data)).toEqual(Array.from(data, nearestBrain));
    },
  );

  test("halves at the edges: subnormal, the largest, what rounds to infinity, and back again", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const { data } = decodeSafetensors(
      fileOf({ x: entry("F16", [65536], 0, 131072) }, new Uint8Array(all.buffer)),
      "test",
    ).tensors.get("x")!;
    const tensors = new Map<string, HostTensor>([["x", { dtype: "f32", shape: [65536], data }]]);
    const again = encodeSafetensors(tensors, {}, "F16").slice(-131072);
    const isNan = (bits: number) => (bits & 0x7fff) > 0x7c00;
    expect(new Uint16Array(again.buffer).filter((bits, i) => bits !== i && !isNan(i))).toEqual(new Uint16Array());
    const edges = Float32Array.of(65504, 65519.996, 65520, 2 ** -25, 2 ** -25 * 1.0001, 2 ** -14 - 2 ** -26);
    expect([...new Float16Array(edges)]).toEqual([65504, 65504, Infinity, 0, 2 ** -24, 2 ** -14]);
  });

  test("a file is read by range: of a tensor not asked for, nothing but the header", async () => {
    const asked: [number, number][] = [];
    const blob = new Blob([
      fileOf({ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 4, 8) }, [1, 2, 3, 4, 5, 6, 7, 8]) as BlobPart,
    ]);
    const slice = blob.slice.bind(blob);
    blob.slice = (begin = 0, end = 0) => (asked.push([begin, end]), slice(begin, end));
    const opened = await openSafetensors(blob);
    expect([...opened.entries.keys()]).toEqual(["a", "b"]);
    expect([...(await opened.read("b")).data]).toEqual([5, 6, 7, 8]);
    const size = blob.size;
    expect(asked).toEqual([
      [0, 8],
      [8, size - 8],
      [size - 4, size],
    ]);
  });

  test("a server that gives ranges is asked for them, another for all", async () => {
    const bytes = fileOf({ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 4, 8) }, [1, 2, 3, 4, 5, 6, 7, 8]);
    for (const ranges of [true, false]) {
      let sent = 0;
      const server = createServer((request, response) => {
        response.setHeader("content-length", bytes.length);
        if (ranges) response.setHeader("accept-ranges", "bytes");
        if (request.method === "HEAD") return response.end();
        const [, begin, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
        const part = ranges && begin ? bytes.subarray(Number(begin), Number(end) + 1) : bytes;
        response.setHeader("content-length", part.length);
        response.statusCode = part === bytes ? 200 : 206;
        sent += part.length;
        response.end(part);
      });
      await new Promise<void>((resolve) => server.listen(0, resolve));
      const url = new URL(`http://localhost:${(server.address() as { port: number }).port}/x.safetensors`);
      const opened = await openSafetensors(url);
      expect([...(await opened.read("b")).data]).toEqual([5, 6, 7, 8]);
      expect(sent).toBe(ranges ? bytes.length - 4 : bytes.length);
      server.close();
    }
  });

  test.each([
    ["a directory", () => dir, /^cannot read .*: it is a directory$/],
    ["the URL of a directory", () => pathToFileURL(dir), /^cannot read .*: it is a directory$/],
    [
      "a server that is not there",
      () => new URL("http://127.0.0.1:9/x"),
      /^cannot read http:\/\/127\.0\.0\.1:9\/x: \S/,
    ],
  ])("%s is a ConfigError that names it", async (_, source, message) => {
    const error: unknown = await loadSafetensors(source()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as Error).message).toMatch(message);
  });

  test("files made to be wrong are refused with a FormatError, and nothing else happens", async () => {
    const inputs = process.env.SWITCHYARD_DEEP ? 100_000 : 3_000;
    const { sound, refused, slowest } = await fuzz(inputs, 1);
    expect(sound + refused).toBe(inputs);
    expect(Math.min(sound, refused)).toBeGreaterThan(inputs / 10); // neither side is idle
    expect(slowest).toBeLessThan(10_000);
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
    ["a tensor given twice", fileOf('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}'), /has "a" twice/],
    ["a key of an entry given twice", fileOf('{"a":{"dtype":"U8","dtype":"I8"}}'), /has "dtype" twice/],
    ["a header longer than the format allows", hugeHeader(), /at most 100000000 are allowed/],
    [
      "an integer beyond 32 bits",
      fileOf({ a: entry("I64", [1], 0, 8) }, [0, 0, 0, 0, 1, 0, 0, 0]),
      /element 4294967296/,
    ],
    ["a negative integer of no sign", fileOf({ a: entry("I64", [1], 0, 8) }, [0, 0, 0, 128, 0, 0, 0, 0]), /2147483648/],
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
