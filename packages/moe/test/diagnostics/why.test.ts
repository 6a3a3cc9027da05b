import { init, random, tensor, type Tensor } from "@switchyard/tensor";
import { ledger } from "@switchyard/autograd";
import { moe, softmaxTopK, type MoeOptions } from "@switchyard/moe";
import { expect, test } from "vitest";

await init("cpu");

/** The ledger of a mixture whose router has the logits it is given: the gate is the identity. */
async function bookOf(
  logits: readonly (readonly number[])[],
  options: Partial<MoeOptions<{ gate: Tensor }, never, never>>,
  mask?: Tensor,
) {
  const x = tensor(logits as number[][]);
  const [, experts] = x.shape;
  const layer = moe({ dim: experts, hidden: 3, experts, router: softmaxTopK({ k: 1 }), ...options });
  const begun = layer.init(random.key(0));
  const eye = tensor(
    Array.from({ length: experts }, (_, i) => Array.from({ length: experts }, (_, j) => Number(i === j))),
  );
  const params = { ...begun, router: { gate: eye } };
  return ledger((p: typeof params) =>
    layer
      .apply(p, x, mask ? { mask } : {})
      .output.square()
      .sum(),
  )(params);
}
const reasonsAt = (book: Awaited<ReturnType<typeof bookOf>>, where: string, index: readonly number[]) =>
  [...new Set((book.of(where, index).why ?? []).map(({ reason }) => reason))].toSorted();

const prefersFirst = [
  [2, 1, 0],
  [3, 1, 0],
  [1, 0, 2],
];

test("the logits of a dropped token have no gradient, and the reason is that it was dropped", async () => {
  const book = await bookOf(prefersFirst, { dispatch: { capacity: 1 } });
  expect(reasonsAt(book, "logits", [0, 0])).toEqual([]);
  expect(reasonsAt(book, "logits", [1, 0])).toEqual(["dropped"]);
});

test("padding is masked", async () => {
  const book = await bookOf(prefersFirst, {}, tensor([true, false, true]));
  expect(reasonsAt(book, "logits", [1, 0])).toEqual(["masked"]);
});

test("an expert that no token chose is unselected, its weights and, where the weights are renormalised, its logits", async () => {
  const book = await bookOf(prefersFirst, {});
  for (const name of ["w1", "w2"]) expect(reasonsAt(book, `experts.${name}`, [1, 0, 0])).toEqual(["unselected expert"]);
  const renormalised = await bookOf(prefersFirst, { router: softmaxTopK({ k: 2 }) as never });
  expect(reasonsAt(renormalised, "logits", [0, 2])).toEqual(["unselected expert"]);
});

test("among equal logits, those that lost by order are ties", async () => {
  const book = await bookOf([[1, 1, 1]], { router: softmaxTopK({ k: 2 }) as never });
  expect(reasonsAt(book, "logits", [0, 2])).toEqual(["tie"]);
});
