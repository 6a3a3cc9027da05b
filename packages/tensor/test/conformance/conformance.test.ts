import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { scalarOps, type ScalarOp } from "../../src/scalar.ts";
import { cases, scalarCase, type Case } from "./cases.ts";
import { check } from "./check.ts";
import { describeDevice, ranAsAsked, startDevice, testedDevices } from "./device.ts";

const numRuns = process.env.SWITCHYARD_DEEP ? 1000 : process.env.SWITCHYARD_GPU_SUBSET ? 8 : 60;

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
