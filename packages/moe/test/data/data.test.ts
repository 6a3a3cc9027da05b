import { setTimeout as sleep } from "node:timers/promises";
import { fc, test as property } from "@fast-check/vitest";
import { arange, ConfigError, init, tensor } from "@switchyard/tensor";
import { prefetch, shuffled, splitTable, tableBatches } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(() => init("cpu"));

describe("shuffled", () => {
  property.prop([fc.integer({ min: 0, max: 300 }), fc.nat()])("has each place once", (count, seed) => {
    const at = shuffled(count, seed);
    const places = Array.from({ length: count }, (_, i) => at(i));
    expect(places.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
  });

  test("another seed is another order, and no order is the one of the places", () => {
    const order = (seed: number) =>
      Array.from({ length: 100 }, (_, i) => i)
        .map(shuffled(100, seed))
        .join();
    const orders = Array.from({ length: 200 }, (_, seed) => order(seed));
    expect(new Set(orders).size).toBe(200);
    expect(orders).not.toContain(Array.from({ length: 100 }, (_, i) => i).join());
  });

  test("every item comes to every place about equally often", () => {
    const counts = Array.from({ length: 10 }, () => new Array<number>(10).fill(0));
    for (let seed = 0; seed < 2000; seed++) {
      const at = shuffled(10, seed);
      for (let place = 0; place < 10; place++) counts[place][at(place)]++;
    }
    // Of 2,000 draws with p = 0.1 the standard deviation is 13.4: five of them either way.
    for (const n of counts.flat()) expect(Math.abs(n - 200)).toBeLessThan(67);
  });

  test("of more than memory holds, is asked for a place at once", () => {
    const at = shuffled(2 ** 50, 1);
    const seen = new Set(Array.from({ length: 1000 }, (_, i) => at(i)));
    expect(seen.size).toBe(1000);
    expect(Math.max(...seen)).toBeGreaterThan(2 ** 49);
  });
});

describe("tableBatches", () => {
  const table = { x: arange(14).reshape([7, 2]), label: tensor([0, 1, 2, 3, 4, 5, 6], { dtype: "i32" }) };

  test("each row comes once an epoch, with its label, in an order that differs from epoch to epoch", async () => {
    const at = tableBatches(table, { batch: 3, seed: 4 });
    const labels: number[] = [];
    for (let step = 0; step < 7; step++) {
      const { x, label } = at(step);
      const rows = [...(await label.data())];
      expect(await x.toArray()).toEqual(rows.map((row) => [2 * row, 2 * row + 1]));
      labels.push(...rows);
    }
    const epochs = [0, 1, 2].map((e) => labels.slice(7 * e, 7 * e + 7));
    for (const epoch of epochs) expect(epoch.toSorted((x, y) => x - y)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(new Set(epochs.map(String)).size).toBe(3);
  });

  test("is a pure function of the step", async () => {
    const [a, b] = [tableBatches(table, { batch: 3, seed: 4 }), tableBatches(table, { batch: 3, seed: 4 })];
    const forwards: number[][] = [];
    for (const step of [0, 1, 2, 5]) forwards.push([...(await a(step).label.data())]);
    for (const [i, step] of [5, 2, 1, 0].entries()) expect([...(await b(step).label.data())]).toEqual(forwards[3 - i]);
  });

  test("a split has every row in one part", async () => {
    const { train, heldOut } = splitTable(table, { heldOut: 0.3, seed: 1 });
    const [a, b] = [[...(await train.label.data())], [...(await heldOut.label.data())]];
    expect([a.length, b.length]).toEqual([5, 2]);
    expect([...a, ...b].toSorted((x, y) => x - y)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test("a table that does not fit its labels is a ConfigError", () => {
    const label = tensor([1, 2], { dtype: "i32" });
    expect(() => tableBatches({ x: table.x, label }, { batch: 1, seed: 0 })).toThrow(ConfigError);
    expect(() => splitTable(table, { heldOut: 0, seed: 0 })).toThrow(/leaves a part without any/);
  });
});

describe("prefetch", () => {
  test("gives what data gives, once a step, and is ahead of who asks", async () => {
    const begun: number[] = [];
    const ahead = prefetch(async (step) => (begun.push(step), sleep(1, step * 10)), 2);
    const seen: number[] = [];
    for (let step = 0; step < 5; step++) {
      seen.push(await ahead(step));
      expect(begun.length).toBe(step + 3);
    }
    expect([seen, begun]).toEqual([
      [0, 10, 20, 30, 40],
      [0, 1, 2, 3, 4, 5, 6],
    ]);
  });

  test("a step that is as slow as its data does not wait for it again", async () => {
    const ahead = prefetch((step) => sleep(30, step));
    await ahead(0);
    await sleep(40); // the step
    const began = performance.now();
    await ahead(1);
    expect(performance.now() - began).toBeLessThan(25);
  });

  test("goes back, and jumps, as a run that resumes does", async () => {
    const ahead = prefetch((step) => step);
    expect([await ahead(7), await ahead(3), await ahead(4), await ahead(100)]).toEqual([7, 3, 4, 100]);
  });

  test("a failure is told to whoever asks for its step, and to nobody before", async () => {
    const ahead = prefetch((step) => {
      if (step === 2) throw new Error("no more");
      return step;
    });
    expect([await ahead(0), await ahead(1)]).toEqual([0, 1]);
    await sleep(5);
    await expect(ahead(2)).rejects.toThrow("no more");
  });
});
