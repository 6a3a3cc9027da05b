import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import { einsum, init, ones, random, ShapeError, tensor, zeros, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { tensorOf } from "@switchyard/tensor/testing";
import { at, build, expectClose, hostOf, indicesOf, sum } from "../host.ts";

beforeAll(() => init("cpu"));

const extents: Readonly<Record<string, number>> = { a: 2, b: 3, c: 1, d: 4, e: 0 };

/** The sum over every assignment of the labels, one product at a time. */
async function dullEinsum(equation: string, operands: readonly Tensor[]) {
  const [left, output] = equation.split("->");
  const terms = left.split(",");
  const hosts = await Promise.all(operands.map(hostOf));
  const size = new Map<string, number>();
  terms.forEach((term, i) => term.split("").forEach((label, axis) => size.set(label, hosts[i].shape[axis])));
  const inner = [...size.keys()].filter((label) => !output.includes(label));
  const shapeOf = (labels: readonly string[]): number[] => labels.map((label) => size.get(label)!);
  return build(shapeOf(output.split("")), (outer) =>
    sum(
      indicesOf(shapeOf(inner)).map((index) => {
        const position = (label: string): number =>
          output.includes(label) ? outer[output.indexOf(label)] : index[inner.indexOf(label)];
        return hosts.reduce((product, host, i) => product * at(host, terms[i].split("").map(position)), 1);
      }),
    ),
  );
}

const operandFor = (term: string, extent: Readonly<Record<string, number>> = extents) =>
  tensorOf({ shape: term.split("").map((label) => extent[label]), dtype: "f64" });

/** Equations of one to four terms over five labels, repeats and an empty extent included. */
const cases = fc
  .array(fc.string({ unit: fc.constantFrom("a", "b", "c", "d", "e"), maxLength: 3 }), { minLength: 1, maxLength: 4 })
  .chain((terms) => {
    const labels = [...new Set(terms.join("").split(""))].filter((label) => label !== "");
    return fc.tuple(
      fc.shuffledSubarray(labels).map((output) => `${terms.join(",")}->${output.join("")}`),
      fc.tuple(...terms.map((term) => operandFor(term))),
    );
  });

describe("einsum", () => {
  property.prop([cases], { numRuns: 200 })("it is the sum over all labels", async ([equation, operands]) => {
    await expectClose(einsum(equation, ...operands), await dullEinsum(equation, operands), 1e-12);
  });

  test.each([
    ["ij,jk", "ij,jk->ik"],
    ["ba", "ba->ab"],
    ["ii", "ii->"],
    ["ij,ij", "ij,ij->"],
    ["i,j", "i,j->ij"],
    ["cab", "cab->abc"],
  ])("without an arrow, %s means %s", async (implicit, explicit) => {
    const operands = explicit
      .split("->")[0]
      .split(",")
      .map((term, i) =>
        random.normal(
          random.key(i),
          term.split("").map(() => 3),
          { dtype: "f64" },
        ),
      );
    await expectClose(einsum(implicit, ...operands), await hostOf(einsum(explicit, ...operands)), 1e-12);
  });

  const draw = (seed: number, ...shape: number[]): Tensor => random.normal(random.key(seed), shape, { dtype: "f64" });

  test("an ellipsis stands for axes that broadcast and come first without an arrow", async () => {
    const [x, y] = [draw(0, 5, 1, 2, 3), draw(1, 4, 3, 2)];
    const expected = await hostOf(x.matmul(y));
    await expectClose(einsum("...ij,...jk->...ik", x, y), expected, 1e-12);
    await expectClose(einsum("...ij,...jk", x, y), expected, 1e-12);
    await expectClose(einsum("i...,i...->...", x, x), await hostOf(x.square().sum(0)), 1e-12);
    await expectClose(einsum("...->...", x), await hostOf(x));
    await expectClose(einsum("i...j->j...i", x), await hostOf(x.permute([3, 1, 2, 0])));
    await expectClose(einsum("...,...", x, draw(2)), await hostOf(x.mul(draw(2))), 1e-12);
  });

  test("an ellipsis axis of extent 1 in every operand keeps its extent", () => {
    expect(einsum("...i,...i->...", ones([1, 3]), ones([1, 3])).shape).toEqual([1]);
  });

  test("diagonals and traces", async () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(await einsum("ii->i", x).toArray()).toEqual([1, 4]);
    expect(await einsum("ii", x).item()).toBe(5);
    const cube = draw(3, 2, 2, 2);
    const host = await hostOf(cube);
    await expectClose(
      einsum("iii->i", cube),
      build([2], ([i]) => at(host, [i, i, i])),
    );
    expect(einsum("ii->i", zeros([0, 0])).shape).toEqual([0]);
  });

  test("integers stay integers", async () => {
    const x = tensor(Int32Array.of(1, 2, 3));
    expect(await einsum("i,i->", x, x).item()).toBe(14);
  });

  test("it is linear in each operand", async () => {
    const [x, y, z] = [draw(0, 3, 4), draw(1, 3, 4), draw(2, 4, 2)];
    const whole = einsum("ij,jk->ik", x.add(y), z);
    const parts = einsum("ij,jk->ik", x, z).add(einsum("ij,jk->ik", y, z));
    await expectClose(whole, await hostOf(parts), 1e-12);
  });

  test("a chain is multiplied in its cheapest order", () => {
    // (x y) z costs 2·50·50 + 2·50·50; x (y z) costs 50·50·50 more. And the other way round for the mirror image.
    const [thin, square] = [zeros([2, 50]), zeros([50, 50])];
    const widest = (out: Tensor): number =>
      Math.max(
        ...topologicalOrder([out.node]).flatMap((node) =>
          node.op === "matmul" ? [node.shape.reduce((a, b) => a * b, 1)] : [],
        ),
      );
    expect(widest(einsum("ab,bc,cd->ad", thin, square, square))).toBe(100);
    expect(widest(einsum("ab,bc,dc->ad", square, square, thin))).toBe(100);
  });

  test("a contraction lowers to matmul, with no gather or scatter", () => {
    const ops = (out: Tensor): Set<string> => new Set(topologicalOrder([out.node]).map((node) => node.op));
    expect(ops(einsum("bik,bkj->bij", zeros([2, 3, 4]), zeros([2, 4, 5])))).toContain("matmul");
    const diagonal = ops(einsum("bii->bi", zeros([2, 3, 3])));
    expect(diagonal).not.toContain("gather");
    expect(diagonal).toContain("slice");
  });

  test.each([
    ["ij,jk->ik", [[2, 3]], "2 terms for 1 operands"],
    ["ij->ij", [[2]], "names 2 axes of an operand that has 1"],
    ["i...j->ij", [[2]], "names 2 axes of an operand that has 1"],
    [
      "ij,jk->ik",
      [
        [2, 3],
        [4, 5],
      ],
      'label "j" has extents 3 and 4',
    ],
    ["ii->i", [[2, 3]], 'label "i" has extents 2 and 3'],
    [
      "...i,...i->...",
      [
        [2, 3],
        [4, 3],
      ],
      "an ellipsis axis has extents 2 and 4",
    ],
    ["ij->ik", [[2, 3]], 'output label "k" is in no operand'],
    ["ij->ii", [[2, 3]], "the output repeats a label"],
    ["...i->i", [[2, 3]], "missing from the output"],
    ["i->j->k", [[2]], "more than one ->"],
    ["i..->i", [[2]], "is not a term"],
    ["i1->i", [[2, 3]], "is not a term"],
    ["", [], "1 terms for 0 operands"],
  ] as [string, number[][], string][])("%s of %j is refused: %s", (equation, shapes, rule) => {
    const wrong = (): Tensor => einsum(equation, ...shapes.map((shape) => zeros(shape)));
    expect(wrong).toThrow(ShapeError);
    expect(wrong).toThrow(rule);
  });
});
