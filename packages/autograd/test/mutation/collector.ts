// Stands in for vitest and its fast-check: collects tests, to be run many times in one process, and judges.
import assert from "node:assert/strict";
import { format } from "node:util";
import * as fc from "fast-check";

export { fc };

/** A test, by name. It fails by throwing. */
export interface Collected {
  readonly name: string;
  readonly run: () => unknown;
}

export const collected: Collected[] = [];

type Body = (...args: never[]) => unknown;

const collect = (name: string, run: () => unknown): void => void collected.push({ name, run });

const each =
  (add: (name: string, run: () => unknown) => void) =>
  (rows: readonly unknown[]) =>
  (name: string, body: Body): void => {
    for (const row of rows) {
      const args = Array.isArray(row) ? row : [row];
      add(format(name, ...args), () => body(...(args as never[])));
    }
  };

/** Stops at the first case that fails: it need not be made small. */
const prop =
  (arbitraries: readonly fc.Arbitrary<unknown>[]) =>
  (name: string, body: Body): void =>
    collect(name, () =>
      fc.assert(
        fc.asyncProperty(fc.tuple(...arbitraries), async (args) => void (await body(...(args as never[])))),
        {
          endOnFailure: true,
          numRuns: 100,
        },
      ),
    );

export const test = Object.assign(collect, { each: each(collect), prop });

const now = (_: string, body: () => unknown): unknown => body();
export const describe = Object.assign(now, { each: each(now) });

/** The judgements that the tests of rules make. */
const judgements = (got: unknown) => ({
  toBe: (wanted: unknown) => assert.ok(Object.is(got, wanted)),
  toEqual: (wanted: unknown) => assert.deepEqual(positive(got), positive(wanted)),
  toBeNaN: () => assert.ok(Number.isNaN(got)),
  toBeCloseTo: (wanted: number, digits = 2) => assert.ok(Math.abs((got as number) - wanted) < 10 ** -digits / 2),
  toHaveLength: (wanted: number) => assert.equal((got as unknown[]).length, wanted),
  toContain: (wanted: unknown) => assert.ok((got as unknown[]).includes(wanted)),
});

/** -0 as 0. */
const positive = (x: unknown): unknown => (Array.isArray(x) ? x.map(positive) : x === 0 ? 0 : x);

export const expect = (got: unknown) => ({
  ...judgements(got),
  not: { toContain: (wanted: unknown) => assert.ok(!(got as unknown[]).includes(wanted)) },
});
