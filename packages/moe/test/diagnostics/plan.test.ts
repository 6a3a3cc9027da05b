import { treeLeaves, treePaths } from "@switchyard/autograd";
import { init, random } from "@switchyard/tensor";
import { plan, presets, sigmoidTopK, softmaxTopK, transformer, type PlanConfig } from "@switchyard/moe";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(() => init("cpu"));

const sizes = fc.record({
  vocab: fc.integer({ min: 2, max: 9 }),
  heads: fc.constantFrom(1, 2, 4),
  groups: fc.constantFrom(1, 2),
  width: fc.constantFrom(2, 4),
  layers: fc.integer({ min: 1, max: 5 }),
  hidden: fc.integer({ min: 1, max: 6 }),
  experts: fc.integer({ min: 1, max: 4 }),
  shared: fc.integer({ min: 0, max: 2 }),
  router: fc.constantFrom("noisy" as const, "softmax" as const, "sigmoid" as const),
  moeEvery: fc.integer({ min: 1, max: 3 }),
  denseLayers: fc.integer({ min: 0, max: 3 }),
  inner: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
  dense: fc.boolean(),
  activation: fc.constantFrom("relu" as const, "swiglu" as const),
  norm: fc.constantFrom("rms" as const, "layer" as const),
  rope: fc.boolean(),
  tie: fc.boolean(),
});

describe("plan", () => {
  property.prop([sizes], { numRuns: 60 })("counts what a transformer of these sizes is made of", (s) => {
    const { groups, width, inner, experts, shared, router, dense, rope, ...rest } = s;
    const kvHeads = rest.heads % groups === 0 ? rest.heads / groups : rest.heads;
    const same = { ...rest, kvHeads, dim: rest.heads * width, context: 5 };
    const k = Math.max(1, experts - 1);
    const routers = { noisy: undefined, softmax: softmaxTopK({ k }), sigmoid: sigmoidTopK({ k }) };
    const given = routers[router];
    const mixture = { experts, sharedExperts: shared, ...(inner && { hidden: inner }) };
    const model = transformer<unknown>({
      ...same,
      rope,
      moe: dense ? null : { ...mixture, ...(given ? { router: given as never } : { k }) },
    });
    const config: PlanConfig = {
      ...same,
      positions: rope ? "rotary" : "table",
      moe: dense ? null : { ...mixture, k, router },
    };
    const { parameters } = plan(config);
    const params = model.init(random.key(0));
    const leaves = treeLeaves(params);
    const inExperts = treePaths(params).map((path) => path.includes("moe.experts"));
    expect(parameters.total).toBe(leaves.reduce((sum, { size }) => sum + size, 0));
    const active = leaves.reduce((sum, { size }, i) => sum + (inExperts[i] ? (size / experts) * k : size), 0);
    expect(parameters.active).toBe(active);
  });

  // As Transformers 5.18 makes them, on its device that holds no numbers.
  test.each([
    ["mixtral-8x7b", 46_702_792_704, 12_879_925_248],
    ["olmoe-1b-7b", 6_919_161_856, 1_282_017_280],
    ["deepseek-v3", 671_026_419_200, 37_552_297_472],
    ["switch-base-8", 619_339_008, 222_977_280],
  ] as const)("%s has %d parameters, of which a token meets %d", (name, total, active) => {
    const { parameters } = plan(presets[name]);
    expect(parameters).toMatchObject({ total, active });
  });

  test("its parts add up to the whole", () => {
    for (const config of Object.values(presets)) {
      const { total, active: _, multiplied: __, ...parts } = plan(config).parameters;
      expect(Object.values(parts).reduce((a, b) => a + b, 0)).toBe(total);
    }
  });

  test("an option that is undefined is as if left out", () => {
    const { moe, ...sizes } = presets.demo;
    const vague = { ...sizes, kvHeads: undefined, tie: undefined, moe: { ...moe, hidden: undefined } };
    expect(plan(vague)).toEqual(plan(presets.demo));
  });

  test("operations are two for each number multiplied, and attention's over half the context", () => {
    const config = { vocab: 10, dim: 4, layers: 1, heads: 2, hidden: 3, context: 6, moe: null, bias: false };
    const { flops, bytes, memory } = plan(config);
    // 4 matrices of 4 x 4, two of 4 x 3, the head; 2 heads of width 2, scores and sums over 3 positions
    expect(flops.forward).toBe(2 * (64 + 24 + 40) + 2 * 3 * 2 * 4);
    expect(flops.training).toBe(3 * flops.forward);
    expect(bytes.bf16).toBe(2 * (40 + 64 + 24 + 3 * 4 + 40));
    expect(memory.cachePerToken).toBe(2 * 2 * 4);
    expect(memory.optimizer.adam).toBe(2 * bytes.f32);
  });

  test("plays a recorded routing on devices: what travels, who waits, what capacity drops", () => {
    const config = { vocab: 2, dim: 10, layers: 2, heads: 1, hidden: 2, context: 4, moe: { experts: 4, k: 2 } };
    const routing = {
      expertCount: 4,
      experts: [
        [0, 1],
        [0, 2],
        [0, 3],
        [2, 3],
      ],
    };
    const { expertParallel, sparseLayers } = plan(config, { devices: 2, routing });
    expect(sparseLayers).toBe(2);
    // Tokens 0 and 1 lie on device 0, which has experts 0 and 1. Only tokens 1 and 2 have an expert elsewhere.
    expect(expertParallel).toMatchObject({
      allToAllBytes: 2 * 10 * 2,
      busiestDeviceBytes: 20,
      load: [4, 4],
      slowdown: 1,
    });
    // Counts are 3, 1, 2, 2 of a mean of 2: with 2 places one pair is dropped.
    expect(expertParallel!.capacity[0]).toEqual({ factor: 1, places: 2, dropped: 1 / 8, slowdown: 1, padding: 1 / 8 });
    expect(expertParallel!.capacity.at(-1)).toMatchObject({ places: 4, dropped: 0, padding: 0.5 });
    const masked = plan(config, { devices: 2, routing: { ...routing, mask: [true, true, false, false] } });
    expect(masked.expertParallel!.load).toEqual([3, 1]);
    expect(masked.expertParallel!.slowdown).toBe(1.5);
    // Of 2 real tokens, experts have 2, 1, 1, 0 of a mean of 1: padding makes no places.
    expect(masked.expertParallel!.capacity[0]).toMatchObject({ places: 1, dropped: 1 / 4, padding: 1 / 4 });
  });

  test("without a record tokens draw evenly", () => {
    const { load, slowdown, tokens } = plan(presets["mixtral-8x7b"], { devices: 8, tokens: 4096 }).expertParallel!;
    expect(tokens).toBe(4096);
    expect(load.reduce((a, b) => a + b, 0)).toBe(2 * 4096);
    expect(slowdown).toBeGreaterThan(1);
    expect(slowdown).toBeLessThan(1.15);
  });

  test.each<[string, () => unknown, string]>([
    [
      "a missing size",
      () => plan({ dim: 4 } as never),
      'plan: needs the option "vocab", "layers", "heads", "hidden", "context", "moe"',
    ],
    [
      "an unknown one",
      () => plan({ ...presets.demo, width: 3 } as never),
      'plan: unknown option "width"; options are vocab',
    ],
    [
      "k above the experts",
      () => plan({ ...presets.demo, moe: { experts: 2, k: 3 } }),
      "plan: moe: k = 3 but there are 2 experts; choose k from 1 to 2",
    ],
    [
      "devices that do not divide",
      () => plan(presets.demo, { devices: 3 }),
      "plan: 3 devices do not divide 8 experts; choose a divisor",
    ],
    [
      "devices without experts",
      () => plan({ ...presets.demo, moe: null }, { devices: 2 }),
      "plan: devices share out experts, and this config has none",
    ],
    [
      "a routing of other experts",
      () => plan(presets.demo, { devices: 2, routing: { expertCount: 4, experts: [] } }),
      "plan: the routing is one of 4 experts but the config has 8",
    ],
    [
      "heads that do not divide",
      () => plan({ ...presets.demo, heads: 3 }),
      "plan: 3 heads do not divide dim = 128; give headDim",
    ],
  ])("%s is refused in a line that says what to do", (_, act, message) => {
    expect(act).toThrow(message);
  });
});
