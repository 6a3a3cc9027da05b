import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { crossEntropy, DisposedError, init, realize, ShapeError, shutdown, tensor, zeros } from "../../src/index.ts";

beforeAll(() => init("cpu", { debug: true }));
afterAll(() => shutdown());

test("in debug, an index out of range throws at the next read and names the op and the line", async () => {
  const rows = tensor([[1], [2]]).gather([0, 5]);
  await expect(rows.data()).rejects.toThrow(ShapeError);
  await expect(rows.data()).rejects.toThrow(/gather at .*debug\.test\.ts:\d+:\d+: an index is out of range 0\.\.1/);
});

test("in debug, a class out of range is no mistake where a mask leaves it out", async () => {
  const loss = (mask: boolean[]) => crossEntropy(zeros([2, 4]), [0, -100], { mask: tensor(mask) });
  expect(await loss([true, false]).item()).toBeCloseTo(Math.log(4), 6);
  await expect(loss([true, true]).item()).rejects.toThrow("an index is out of range 0..3");
});

test("in debug, indices in range read as ever", async () => {
  expect(
    await tensor([[1], [2]])
      .gather([1, 0])
      .toArray(),
  ).toEqual([[2], [1]]);
});

test("in debug, a node that runs twice warns once", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const y = tensor([1, 2]).exp();
  const [a, b, c] = [y.add(1), y.add(2), y.add(3)];
  for (const t of [a, b, c]) await realize(t);
  expect(warn.mock.calls.map(([text]) => String(text))).toEqual([
    expect.stringMatching(/^switchyard: exp at .*debug\.test\.ts:\d+:\d+ runs again: realize it together/),
  ]);
  warn.mockRestore();
});

test("in debug, the error of a disposed tensor has both lines", async () => {
  const x = await realize(tensor([1]).exp());
  const y = x.tanh();
  x.dispose();
  const where = String.raw`at .*debug\.test\.ts:\d+:\d+`;
  await expect(y.data()).rejects.toThrow(DisposedError);
  await expect(y.data()).rejects.toThrow(
    new RegExp(`^tanh ${where}: needs f32\\[1\\] made by exp ${where}, which was disposed ${where}`),
  );
});
