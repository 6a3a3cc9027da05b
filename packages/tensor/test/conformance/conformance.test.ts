import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { DeviceName, TypedArray } from "../../src/index.ts";
import { scalarOps, type ScalarOp } from "../../src/scalar.ts";
import { supports } from "../../src/types.ts";
import { cases, run, scalarCase, type Case } from "./cases.ts";
import { describeDevice, ranAsAsked, readTogether, startDevice, testedDevices } from "./device.ts";

const numRuns = process.env.SWITCHYARD_DEEP ? 1000 : process.env.SWITCHYARD_GPU_SUBSET ? 12 : 60;

const eps = { f32: 2 ** -23, f64: 2 ** -52 };

/** The first element that is further off than a case allows, in words. */
function mismatch(got: TypedArray, wanted: TypedArray, dtype: string, { ulps, scale = 0 }: Case): string | undefined {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  for (let i = 0; i < wanted.length; i++) {
    const [g, w] = [got[i], wanted[i]];
    if (Object.is(g, w) || g === w) continue;
    const unit = dtype === "f32" ? eps.f32 : dtype === "f64" ? eps.f64 : 0;
    const tiny = dtype === "f32" ? 2 ** -126 : 2 ** -1022;
    if (Math.abs(g - w) <= unit * (ulps * Math.max(Math.abs(w), tiny) + scale)) continue;
    return `element ${i} is ${g}, not ${w}`;
  }
  return undefined;
}

async function check(one: Case, device: DeviceName, shared: boolean): Promise<void> {
  const wanted = run(one, "cpu");
  fc.pre([...one.inputs, wanted].every(({ dtype }) => supports(device, dtype)));
  const got = run(one, device);
  expect(got.shape).toEqual(wanted.shape);
  const [data] = await readTogether([got], device, shared);
  expect(mismatch(data, await wanted.data(), wanted.dtype, one)).toBeUndefined();
}

describe.each(testedDevices)("on %s", (device) => {
  beforeAll(() => startDevice(device));

  test("the device runs as it was asked to", async () => {
    expect(await describeDevice(device)).toMatchObject(ranAsAsked(device));
  });

  test.each(Object.keys(cases) as (keyof typeof cases)[])(
    "%s computes what its reference loop computes",
    async (name) => {
      await fc.assert(
        fc.asyncProperty(cases[name] as fc.Arbitrary<Case>, fc.boolean(), (one, shared) => check(one, device, shared)),
        { numRuns },
      );
    },
  );

  test.each(Object.keys(scalarOps) as ScalarOp[])("the scalar op %s is what its definition says", async (fn) => {
    await fc.assert(
      fc.asyncProperty(scalarCase(fn), fc.boolean(), (one, shared) => check(one, device, shared)),
      { numRuns: numRuns / 2 },
    );
  });
});
