import fc from "fast-check";
import { devices, init, type DeviceName } from "../../packages/tensor/src/index.ts";
import { scalarOps, type ScalarOp } from "../../packages/tensor/src/scalar.ts";
import { cases, scalarCase, type Case } from "../../packages/tensor/test/conformance/cases.ts";
import { check } from "../../packages/tensor/test/conformance/check.ts";

/** What the page offers to those who drive it. */
export interface ConformancePage {
  /** Runs so many cases of every primitive and scalar op on a device. */
  conformance(device: DeviceName, runs: number): Promise<Conformance>;
}

export interface Conformance {
  readonly details: Readonly<Record<string, string | number | boolean>>;
  readonly passed: number;
  /** What failed, with the counterexample. */
  readonly failures: readonly string[];
}

declare global {
  var conformancePage: ConformancePage;
}

const everything: readonly (readonly [name: string, fc.Arbitrary<Case>])[] = [
  ...Object.entries(cases as Readonly<Record<string, fc.Arbitrary<Case>>>),
  ...(Object.keys(scalarOps) as ScalarOp[]).map((fn) => [`map ${fn}`, scalarCase(fn)] as const),
];

async function conformance(device: DeviceName, numRuns: number): Promise<Conformance> {
  await init(device);
  const { details } = (await devices()).find(({ name }) => name === device)!;
  const failures: string[] = [];
  for (const [name, arbitrary] of everything) {
    const property = fc.asyncProperty(arbitrary, fc.boolean(), (one, shared) => check(one, device, shared));
    await fc.assert(property, { numRuns }).catch((error: Error) => failures.push(`${name}: ${error.message}`));
  }
  return { details, passed: everything.length - failures.length, failures };
}

globalThis.conformancePage = { conformance };
