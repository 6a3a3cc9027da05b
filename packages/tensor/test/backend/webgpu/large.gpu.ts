import { afterAll, expect, test } from "vitest";
import { shutdown } from "../../../src/index.ts";
import { difference, largeCases } from "./largeCases.ts";

afterAll(() => shutdown());

/** A spread over the kernels for the subset that `npm test` runs. */
const some = process.env.SWITCHYARD_GPU_SUBSET
  ? largeCases.filter((_, i) => i % 3 === 2 && i < largeCases.length - 1)
  : largeCases;

test.each(some)("$name is what the reference computes, and the same bits twice", async ({ make, tolerance }) => {
  const got = await make("webgpu").data();
  expect(difference(got, await make("cpu").data(), tolerance)).toBeUndefined();
  expect(difference(await make("webgpu").data(), got, 0)).toBeUndefined();
});
