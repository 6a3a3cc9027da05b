import { init } from "@switchyard/tensor";
import { adam, grad, ledger } from "@switchyard/autograd";
import { beforeAll, expect, test } from "vitest";
import { batch, begin, gate, lossOf, taskAgainstBalance } from "../taskAgainstBalance.ts";
import { ledgerOfTop1 } from "../whyZero.ts";

beforeAll(() => init("wasm"));

test("a router whose single weights are renormalised learns nothing, and the ledger says so for task and balance alike", async () => {
  const { book, params } = await ledgerOfTop1();
  const entry = book.of(params.router.gate, [2, 3]);
  expect(await entry.total.item()).toBe(0);
  expect(entry.why!.map(({ reason, class: cls }) => [reason, cls!.term])).toEqual([
    ["renormalised top-1", undefined],
    ["renormalised top-1", "importance"],
  ]);
  expect(String(book.by("term"))).toMatch(/router\.gate f32\[4,4\]: norm 0\n/);
});

test("what task and balance give the gate adds up to its gradient at each row, and the pull changes as training goes on", async () => {
  const optimizer = adam({ learningRate: 1e-2 });
  const params = begin();
  const rows = await taskAgainstBalance(lossOf, gate, params, optimizer.init(params), optimizer, batch, {
    steps: 41,
    every: 20,
  });
  expect(rows.map(({ step }) => step)).toEqual([0, 20, 40]);
  for (const { task, balance, cosine } of rows) {
    expect(Math.min(task, balance)).toBeGreaterThan(0);
    expect(Math.abs(cosine)).toBeLessThanOrEqual(1);
  }

  const start = begin();
  const { parts, norm } = (await ledger(lossOf)(start, ...batch(7))).of(gate(start));
  const plain = await gate(grad(lossOf)(start, ...batch(7)))
    .norm()
    .item();
  expect(Math.abs(norm - plain)).toBeLessThan(1e-5 * parts.reduce((sum, part) => sum + part.norm, 0));
});
