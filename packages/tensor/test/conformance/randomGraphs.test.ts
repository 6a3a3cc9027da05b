import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { TypedArray } from "../../src/index.ts";
import { build, steps } from "../schedule/randomGraph.ts";
import { readTogether } from "./check.ts";
import { startDevice, testedDevices } from "./device.ts";

const numRuns = process.env.SWITCHYARD_DEEP ? 3000 : 150;

/** The largest of everything a program makes on its way: what rounding is measured against, since a small result may be a difference. */
const magnitude = (arrays: readonly TypedArray[]): number =>
  arrays
    .flatMap((array) => Array.from(array, Math.abs))
    .reduce((most, x) => (x < Infinity ? Math.max(most, x) : most), 1);

const mismatch = (got: TypedArray, wanted: TypedArray, scale: number): string | undefined => {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  const at = [...wanted.keys()].find(
    (i) => !Object.is(got[i], wanted[i]) && got[i] !== wanted[i] && !(Math.abs(got[i] - wanted[i]) <= 1e-5 * scale),
  );
  return at === undefined ? undefined : `element ${at} is ${got[at]}, not ${wanted[at]}`;
};

describe.each(testedDevices)("on %s", (device) => {
  beforeAll(() => startDevice(device));

  test("random graphs, fused, compute what the reference computes node by node", async () => {
    await fc.assert(
      fc.asyncProperty(steps(24), fc.nat(1000), fc.nat(3), fc.boolean(), async (program, seed, extra, shared) => {
        const [made, oracle] = [build(program, seed, device), build(program, seed)];
        const read = [made.length - 1, ...made.keys().drop(5).take(extra)];
        const got = await readTogether(
          read.map((i) => made[i]),
          device,
          shared,
        );
        const wanted = await readTogether(oracle, "cpu", false);
        const scale = magnitude(wanted);
        got.forEach((data, i) => expect(mismatch(data, wanted[read[i]], scale), `tensor ${read[i]}`).toBeUndefined());
      }),
      { numRuns },
    );
  });
});
