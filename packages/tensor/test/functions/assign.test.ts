import { fc, test as property } from "@fast-check/vitest";
import { assign, init, tensor, zeros } from "@switchyard/tensor";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(() => init("cpu"));

const places = (rows: number, columns: number): number[] =>
  Array.from({ length: columns }, (_, e) => Math.floor(rows / columns) + Number(e < rows % columns));
const countsOf = (columns: number, assigned: readonly number[]): number[] =>
  Array.from({ length: columns }, (_, e) => assigned.filter((c) => c === e).length);

/** The greatest sum of scores of any balanced assignment, by trying all. */
function bestTotal(scores: readonly number[][], room: readonly number[]): number {
  if (scores.length === 0) return 0;
  const [row, ...rest] = scores;
  const totals = row.map((score, e) =>
    room[e] === 0 ? -Infinity : score + bestTotal(rest, room.with(e, room[e] - 1)),
  );
  return Math.max(...totals);
}

const matrices = fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 1, max: 4 })).chain(([rows, columns]) =>
  fc.array(fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: columns, maxLength: columns }), {
    minLength: rows,
    maxLength: rows,
  }),
);

describe("assign", () => {
  property.prop([matrices], { numRuns: 100 })(
    "gives every column its share, and scores within 1/256 of the range a row of the best there is",
    async (scores) => {
      const columns = scores[0]?.length ?? 1;
      const assigned = [...(await assign(tensor(scores.flat(), { shape: [scores.length, columns] })).data())];
      const room = places(scores.length, columns);
      expect(countsOf(columns, assigned)).toEqual(room);
      const all = scores.flat();
      const range = all.length === 0 ? 0 : Math.max(...all) - Math.min(...all);
      const total = scores.reduce((sum, row, t) => sum + row[assigned[t]], 0);
      expect(total).toBeGreaterThanOrEqual(bestTotal(scores, room) - (scores.length * range) / 250 - 1e-4);
    },
  );

  test("rows that all want the same are shared out, and it ends", async () => {
    const scores = tensor(Array.from({ length: 300 }, () => [0, 1, 2, 3, 100])).reshape([300, 5]);
    expect(countsOf(5, [...(await assign(scores).data())])).toEqual([60, 60, 60, 60, 60]);
  });

  test("each matrix of a batch is assigned by itself, on every scale", async () => {
    const one = [
      [3, 0],
      [2, 0],
      [1, 3],
      [0, 2],
    ];
    const scaled = one.map((row) => row.map((v) => v * 1e30));
    expect(await assign(tensor([one, scaled, one.toReversed()])).toArray()).toEqual([
      [0, 0, 1, 1],
      [0, 0, 1, 1],
      [1, 1, 0, 0],
    ]);
  });

  test("ties go to the lower column, the first rows first", async () => {
    expect([...(await assign(zeros([5, 2])).data())]).toEqual([0, 0, 0, 1, 1]);
  });

  test("of what is not finite +∞ is the greatest, the rest the least", async () => {
    const scores = tensor([
      [0, Infinity],
      [Infinity, 0],
      [NaN, 1],
      [1, -Infinity],
    ]);
    expect([...(await assign(scores).data())]).toEqual([1, 0, 1, 0]);
    expect(countsOf(2, [...(await assign(zeros([4, 2]).add(NaN)).data())])).toEqual([2, 2]);
  });

  test("rows that are masked out take no place, and change nothing for the others", async () => {
    const rows = [
      [3, 0, 1],
      [2, 0, 5],
      [1, 3, 0],
      [0, 2, 2],
    ];
    const alone = [...(await assign(tensor(rows)).data())];
    const among = tensor([[99, -99, 0], rows[0], rows[1], [7, 7, 7], rows[2], rows[3]]);
    const mask = tensor([false, true, true, false, true, true]);
    expect([...(await assign(among, { mask }).data())]).toEqual([3, alone[0], alone[1], 3, alone[2], alone[3]]);
    expect([...(await assign(among, { mask: mask.and(mask.not()) }).data())]).toEqual([3, 3, 3, 3, 3, 3]);
  });

  test("more columns than rows: the first columns get one each", async () => {
    expect([...(await assign(tensor([[9, 1, 5]])).data())]).toEqual([0]);
    expect((await assign(zeros([2, 3, 4])).data()).length).toBe(6);
    expect(assign(zeros([0, 4])).shape).toEqual([0]);
  });
});
