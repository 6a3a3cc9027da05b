import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  arange,
  ConfigError,
  DeviceError,
  DisposedError,
  FormatError,
  init,
  random,
  realize,
  tensor,
} from "@switchyard/tensor";
import { adam } from "@switchyard/autograd";
import {
  exportHf,
  generate,
  hfConfig,
  importHf,
  importSwitch,
  loadSafetensors,
  switchTransformer,
  train,
  transformer,
} from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { mixtralSizes } from "./mixtralSizes.ts";
import { relativeBias } from "../../../src/models/relativeBias.ts";

const here = fileURLToPath(new URL("./", import.meta.url));
/** A Python that has transformers, if there is one: SWITCHYARD_PYTHON, or python3. */
const python = process.env.SWITCHYARD_PYTHON ?? "python3";
const hasTransformers = await promisify(execFile)(python, [
  "-c",
  "import importlib.util as u, sys; sys.exit(not (u.find_spec('transformers') and u.find_spec('torch')))",
]).then(
  () => true,
  () => false,
);

let dir: string;
beforeAll(() => init("wasm"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

const json = async <T>(...path: string[]): Promise<T> => JSON.parse(await readFile(join(...path), "utf8")) as T;
const flat = (nested: unknown): number[] => (nested as number[][][]).flat(2);

/** The largest difference between logits here and there, and what is allowed. */
async function expectLogits(from: string, wanted: number[]): Promise<void> {
  const { model, params } = await importHf(from);
  const { input_ids: ids } = await json<{ input_ids: number[][] }>(from, "tokens.json");
  const logits = [...(await model.apply(params, tensor(ids, { dtype: "i32" })).logits.data())];
  expect(logits.length).toBe(wanted.length);
  const worst = Math.max(...logits.map((x, i) => Math.abs(x - wanted[i])));
  expect(worst).toBeLessThan(1e-4);
}

describe.each(["mixtral", "olmoe"])("a model of %s", (name) => {
  test("has the logits here that it has in transformers", async () => {
    await expectLogits(join(here, name), flat(await json(here, name, "logits.json")));
  });

  test("exported again, is the same file, tensor by tensor", async () => {
    const from = await importHf(join(here, name));
    await exportHf(join(dir, "a"), from);
    const again = await importHf(join(dir, "a"));
    expect(again.config).toMatchObject({ ...from.config, dtype: "float32" });
    expect(await loadAll(join(dir, "a"))).toEqual(await loadAll(join(here, name)));
  });

  test("in several files of bfloat16 is the same but for the rounding", async () => {
    const from = await importHf(join(here, name));
    await exportHf(join(dir, "a"), from, { floats: "BF16", shardBytes: 10_000 });
    const { params } = await importHf(join(dir, "a"));
    const [wide, narrow] = await Promise.all([from, { params }].map(async (m) => m.params.embedding.table.data()));
    for (const [i, x] of wide.entries()) expect(Math.abs(narrow[i] - x)).toBeLessThanOrEqual(2 ** -8 * Math.abs(x));
  });

  test.runIf(hasTransformers)(
    "exported, is opened by transformers, where Python has it, and has there the logits that it has here",
    async () => {
      const from = await importHf(join(here, name));
      // Other weights than the file's, so that nothing but the exported file can be right.
      const params = from.model.init(random.key(3));
      const at = join(dir, "a");
      await exportHf(at, { ...from, params });
      await cp(join(here, name, "tokens.json"), join(at, "tokens.json"));
      const { stdout } = await promisify(execFile)(python, [join(here, "models.py"), "logits", at]);
      await expectLogits(at, flat(JSON.parse(stdout)));
    },
    120_000,
  );
});

describe("a Switch Transformer", () => {
  const at = join(here, "switch");

  /** The largest difference between logits here and there, and what is allowed. */
  async function expectSwitchLogits(from: string, wanted: number[]): Promise<void> {
    const { model, params } = await importSwitch(from);
    const ids = await json<{ input_ids: number[][]; decoder_input_ids: number[][] }>(from, "tokens.json");
    const pair = {
      inputs: tensor(ids.input_ids, { dtype: "i32" }),
      decoded: tensor(ids.decoder_input_ids, { dtype: "i32" }),
    };
    const { logits, routings } = model.apply(params, pair);
    const computed = [...(await logits.data())];
    expect(computed.length).toBe(wanted.length);
    expect(Math.max(...computed.map((x, i) => Math.abs(x - wanted[i])))).toBeLessThan(1e-4);
    expect(routings.length).toBe(2);
  }

  test("has the logits here that it has in transformers, where experts have no room for all", async () => {
    await expectSwitchLogits(at, flat(await json(at, "logits.json")));
    const { model, params } = await importSwitch(at);
    const ids = await json<{ input_ids: number[][]; decoder_input_ids: number[][] }>(at, "tokens.json");
    const pair = {
      inputs: tensor(ids.input_ids, { dtype: "i32" }),
      decoded: tensor(ids.decoder_input_ids, { dtype: "i32" }),
    };
    const { routings } = model.apply(params, pair);
    expect(await routings[0].dropped.any().item()).toBeTruthy(); // else the comparison says nothing about capacity
  });

  test("exported again, is the same file, tensor by tensor; importHf says who reads it", async () => {
    await exportHf(join(dir, "a"), await importSwitch(at));
    expect(await loadAll(join(dir, "a"))).toEqual(await loadAll(at));
    await expect(importHf(at)).rejects.toThrow(/switch_transformers by importSwitch/);
    await expect(importSwitch(join(here, "olmoe"))).rejects.toThrow(/"olmoe"; importHf reads others/);
  });

  test("learns to copy a sequence", async () => {
    const options = switchSizesForCopying();
    const model = switchTransformer(options);
    const data = (step: number) => {
      const inputs = random.randint(random.fold(random.key(1), step), [16, 4], { min: 1, max: 8 });
      return {
        inputs,
        decoded: inputs
          .pad([
            [0, 0],
            [1, 0],
          ])
          .slice([], [0, 4]),
        targets: inputs,
      };
    };
    const losses: number[] = [];
    for await (const { loss } of train({ model, data, optimizer: adam({ learningRate: 1e-2 }), steps: 150 }))
      losses.push(loss);
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]);
  });

  test.runIf(hasTransformers)(
    "exported, is opened by transformers, where Python has it, and has there the logits that it has here",
    async () => {
      const from = await importSwitch(at);
      const params = from.model.init(random.key(3));
      const out = join(dir, "a");
      await exportHf(out, { ...from, params });
      await cp(join(at, "tokens.json"), join(out, "tokens.json"));
      const { stdout } = await promisify(execFile)(python, [join(here, "models.py"), "logits", out]);
      await expectSwitchLogits(out, flat(JSON.parse(stdout)));
    },
    120_000,
  );
});

const switchSizesForCopying = () => ({
  vocab: 8,
  dim: 16,
  heads: 2,
  headDim: 8,
  hidden: 32,
  experts: 2,
  capacity: 4,
  encoderLayers: 1,
  decoderLayers: 2,
  encoderSparseEvery: 1,
  decoderSparseEvery: 2,
  buckets: 8,
  maxDistance: 8,
  normEps: 1e-6,
  jitter: 0,
  tie: false,
});

test("distances fall into the buckets of T5 as transformers has them", async () => {
  // Its `_relative_position_bucket` for offsets -200 to 200, 32 buckets, 128 the farthest: both ways, and one.
  const wanted = await json<{ both: number[]; one: number[] }>(here, "switch", "buckets.json");
  for (const [name, bidirectional] of [
    ["both", true],
    ["one", false],
  ] as const) {
    const table = arange(32).reshape([32, 1]); // of one head: the bucket itself
    const bias = relativeBias(table, 201, 401, { buckets: 32, maxDistance: 128, bidirectional });
    const row = await bias.slice(0, 200).data(); // of the last query: offsets -200 to 200
    expect([...row]).toEqual(wanted[name]);
  }
});

/** Shape and elements of each tensor of a file, by name. */
const loadAll = async (at: string) => {
  const tensors = await loadSafetensors(join(at, "model.safetensors"));
  const read = Object.entries(tensors).map(async ([key, t]) => [key, [t.shape, ...(await t.data())]] as const);
  return Object.fromEntries(await Promise.all(read));
};

describe("importHf", () => {
  test("reads the tokenizer, which has the ids of the one in Python", async () => {
    const { tokenizer } = await importHf(join(here, "olmoe"));
    for (const { text, ids } of await json<{ text: string; ids: number[] }[]>(here, "olmoe", "texts.json")) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });

  test("a model without a tokenizer goes on with token ids, and says so if it is given text", async () => {
    const { model, params, tokenizer } = await importHf(join(here, "mixtral"));
    expect(
      (await Array.fromAsync(generate(model, params, { prompt: [3, 4], maxTokens: 5, temperature: 0 }))).length,
    ).toBe(5);
    expect(() => tokenizer.encode("Call me")).toThrow(/mixtral has no tokenizer\.json/);
  });

  test("what cannot fit on the device is a DeviceError before any tensor is looked for", async () => {
    const config = await json<object>(here, "mixtral", "config.json");
    const large = { ...config, hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 32 };
    const heads = { num_attention_heads: 32, num_key_value_heads: 8 };
    await writeFile(
      join(dir, "config.json"),
      JSON.stringify({ ...large, ...heads, vocab_size: 32000, num_local_experts: 8 }),
    );
    await expect(importHf(dir)).rejects.toThrow(DeviceError);
    await expect(importHf(dir)).rejects.toThrow(/parameters of 174\.0 GiB as f32, but wasm addresses 4\.0 GiB/);
  });

  test.each<[string, object | string, typeof FormatError | typeof ConfigError, RegExp]>([
    ["a config that is not JSON", "{", FormatError, /no config\.json of a model/],
    [
      "a model of another kind",
      { model_type: "llama" },
      ConfigError,
      /model_type "llama" is not built here; mixtral, olmoe/,
    ],
    ["a size that is missing", { hidden_size: undefined }, FormatError, /has no "hidden_size"/],
    [
      "a size that is none",
      { num_hidden_layers: "2" },
      FormatError,
      /"num_hidden_layers" must be a positive integer, got "2"/,
    ],
    ["another activation", { hidden_act: "gelu" }, FormatError, /"hidden_act" is "gelu", which is not built here/],
    ["a window", { sliding_window: 8 }, FormatError, /"sliding_window" is 8, which is not built here/],
    ["stretched positions", { rope_parameters: { rope_type: "yarn" } }, FormatError, /"rope_type" is "yarn"/],
    [
      "more experts than the file has",
      { num_local_experts: 5 },
      FormatError,
      /gate\.weight" is f32\[4,16\], but .* asks for f32\[5,16\]/,
    ],
    [
      "more layers than the file has",
      { num_hidden_layers: 3 },
      FormatError,
      /has no tensor "model\.layers\.2\.input_layernorm/,
    ],
    [
      "another width",
      { intermediate_size: 32 },
      FormatError,
      /w1\.weight" is f32\[24,16\], but .* asks for f32\[32,16\]/,
    ],
  ])("%s is refused", async (_, change, kind, message) => {
    await cp(join(here, "mixtral"), dir, { recursive: true });
    const config = typeof change === "string" ? change : { ...(await json<object>(dir, "config.json")), ...change };
    await writeFile(join(dir, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
    await expect(importHf(dir)).rejects.toThrow(kind);
    await expect(importHf(dir)).rejects.toThrow(message);
  });
});

describe("exportHf", () => {
  const decoder = { vocab: 11, dim: 8, layers: 2, heads: 2, kvHeads: 1, hidden: 12, context: 16 };
  const sizes = { ...decoder, ...mixtralSizes };
  const made = transformer({ ...decoder, activation: "swiglu", tie: true, moe: { experts: 4, k: 2, bias: false } });

  test("a noisy router's noise is for training alone: without it, its model is one of Mixtral's", async () => {
    const { router, ...rest } = made.init(random.key(0)).layers[0].moe!;
    const params = made.init(random.key(0));
    const layers = params.layers.map((layer) => ({
      ...layer,
      moe: { ...rest, ...layer.moe!, router: { gate: random.normal(random.key(2), router.gate.shape) } },
    }));
    await exportHf(dir, { params: { ...params, layers }, config: hfConfig("mixtral", sizes) });
    const { model, params: again } = await importHf(dir);
    const noisy = {
      ...params,
      layers: layers.map((l) => ({ ...l, moe: { ...l.moe, router: { ...l.moe.router, noise: router.noise } } })),
    };
    const tokens = tensor([[1, 2, 3, 4, 5]], { dtype: "i32" });
    const [a, b] = await Promise.all([
      model.apply(again, tokens).logits.data(),
      made.apply(noisy, tokens).logits.data(),
    ]);
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i])))).toBeLessThan(1e-5);
  });

  test("no more than a few parameters' worth of memory is taken, however many there are", async () => {
    const child = fileURLToPath(new URL("./peak.ts", import.meta.url));
    const args = ["--expose-gc", "--conditions=source", child];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { peak, largest, total } = JSON.parse(stdout) as { peak: number; largest: number; total: number };
    expect(total / largest).toBeGreaterThan(30);
    expect(peak / largest).toBeGreaterThan(0.9);
    expect(peak / largest).toBeLessThan(5);
  });

  test("a parameter that is gone is told as what it is, and nothing is written", async () => {
    const params = await realize(made.init(random.key(0)));
    const layers = params.layers.map((l) => ({ ...l, moe: { ...l.moe!, router: { gate: l.moe!.router.gate } } }));
    params.norm.scale.dispose();
    const exported = exportHf(join(dir, "a"), { params: { ...params, layers }, config: hfConfig("mixtral", sizes) });
    await expect(exported).rejects.toThrow(DisposedError);
    expect(await readdir(dir)).toEqual([]);
  });

  test("parameters with no place in the layout are refused by name, and nothing is written", async () => {
    const params = made.init(random.key(0));
    const config = hfConfig("mixtral", sizes);
    const at = join(dir, "a");
    await expect(exportHf(at, { params, config })).rejects.toThrow(/no place for layers\.0\.moe\.router\.noise/);
    await expect(exportHf(at, { params, config: hfConfig("mixtral", { ...sizes, hidden: 16 }) })).rejects.toThrow(
      /layers\.0\.moe\.experts\.w1 must be f32\[4,8,16\] for this config, but is f32\[4,8,12\]/,
    );
    await expect(exportHf(at, { params, config: hfConfig("olmoe", sizes) })).rejects.toThrow(
      /attention\.queryNorm\.scale must be f32\[8\] for this config, but is not there/,
    );
  });

  test("a directory with anything but a model in it is not replaced", async () => {
    const { params, config } = await importHf(join(here, "mixtral"));
    const refused = (holds: RegExp) => expect(exportHf(dir, { params, config })).rejects.toThrow(holds);
    await writeFile(join(dir, "config.json"), '{ "port": 80 }');
    await refused(/holds something that is no model, which would be lost/);
    await exportHf(join(dir, "model"), { params, config });
    await exportHf(join(dir, "model"), { params, config });
    await cp(join(dir, "model", "config.json"), join(dir, "config.json"));
    await writeFile(join(dir, "thesis.txt"), "");
    await refused(/holds (model|thesis\.txt), which would be lost/);
    expect(await readFile(join(dir, "thesis.txt"), "utf8")).toBe("");
  });
});
