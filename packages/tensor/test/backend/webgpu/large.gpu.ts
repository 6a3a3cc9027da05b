import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { init, shutdown } from "../../../src/index.ts";
import { kernelsOf } from "./kernelsOf.ts";
import { difference, largeCases } from "./largeCases.ts";

/** A spread over the kernels for the subset that `npm test` runs. */
const some = process.env.SWITCHYARD_GPU_SUBSET
  ? largeCases.filter((_, i) => i % 3 === 2 && i < largeCases.length - 1)
  : largeCases;

/** Where software lacks subgroups, it is products that have kernels of their own. */
const products = some.filter(({ name }) => /product|grouped/.test(name));

describe.each([
  ["hardware", some],
  ["hardware without subgroups", some],
  ["software", some],
  ["software without subgroups", products],
] as const)("by the kernels for %s", (adapter, cases) => {
  beforeAll(async () => {
    kernelsOf(adapter);
    await init("webgpu");
  });
  afterAll(() => shutdown());

  test.each(cases)("$name is what the reference computes, and the same bits twice", async ({ make, tolerance }) => {
    const got = await make("webgpu").data();
    expect(difference(got, await make("cpu").data(), tolerance)).toBeUndefined();
    expect(difference(await make("webgpu").data(), got, 0)).toBeUndefined();
  });
});
