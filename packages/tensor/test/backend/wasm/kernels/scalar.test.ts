import { describe, expect, test } from "vitest";
import type { GroupedShape } from "../../../../src/backend/wasm/kernels/groupedMatmul.ts";
import type { MatmulShape } from "../../../../src/backend/wasm/kernels/matmulShape.ts";
import { scalarGroupedContract, scalarGroupedRows, scalarMatmul } from "../../../../src/backend/wasm/kernels/scalar.ts";
import { random, runRoutine } from "./harness.ts";

/** Large integers, so that products of i32 wrap. */
const integers = (length: number): Int32Array => Int32Array.from({ length }, () => random() * 2 ** 31);
const doubles = (length: number): Float64Array => Float64Array.from({ length }, random);

const elements = [
  {
    element: "f64",
    make: doubles,
    empty: (n: number) => new Float64Array(n),
    product: (a: number, b: number) => a * b,
    sum: (a: number, b: number) => a + b,
  },
  {
    element: "i32",
    make: integers,
    empty: (n: number) => new Int32Array(n),
    product: Math.imul,
    sum: (a: number, b: number) => (a + b) | 0,
  },
] as const;

describe.each(elements)("$element", ({ element, make, empty, product, sum }) => {
  test("the product is exactly the sum of products in the order of k", () => {
    const [batch, m, n, k] = [3, 5, 7, 11];
    const shape: MatmulShape = {
      batch: [batch],
      m,
      n,
      k,
      a: { batch: [m * k], row: 1, col: m },
      b: { batch: [0], row: n, col: 1 },
    };
    const [a, b] = [make(batch * m * k), make(k * n)];
    const got = runRoutine(
      scalarMatmul(element),
      shape,
      { a, b },
      { name: "c", data: empty(batch * m * n) },
      { chunk: 4 },
    );
    got.forEach((x, at) => {
      const [item, i, j] = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n];
      let want = 0;
      for (let l = 0; l < k; l++) want = sum(want, product(a[item * m * k + i + l * m]!, b[l * n + j]!));
      expect(x).toBe(want);
    });
  });

  const offsets = Int32Array.of(0, 3, 3, 8);
  const [m, n, k, groups] = [10, 4, 5, 3];

  test("each run of rows is multiplied by its own matrix, and rows past the last are zero", () => {
    const shape: GroupedShape = {
      m,
      n,
      k,
      groups,
      lhsRows: m,
      a: { row: k, col: 1 },
      b: { group: n * k, row: 1, col: k },
    };
    const [a, b] = [make(m * k), make(groups * n * k)];
    const got = runRoutine(
      scalarGroupedRows(element),
      shape,
      { a, b, offsets },
      { name: "c", data: empty(m * n) },
      { chunk: 3 },
    );
    got.forEach((x, at) => {
      const [r, j] = [Math.floor(at / n), at % n];
      const group = r < 3 ? 0 : 2;
      let want = 0;
      for (let l = 0; l < k && r < 8; l++) want = sum(want, product(a[r * k + l]!, b[group * n * k + l + j * k]!));
      expect(x).toBe(want);
    });
  });

  test("each group's rows contract to its own matrix, and an empty group's is zero", () => {
    const shape: GroupedShape = { m, n, k, groups, lhsRows: m, a: { row: k, col: 1 }, b: { group: 0, row: n, col: 1 } };
    const [a, b] = [make(m * k), make(m * n)];
    const got = runRoutine(
      scalarGroupedContract(element),
      shape,
      { a, b, offsets },
      { name: "c", data: empty(groups * k * n) },
      { chunk: 2 },
    );
    got.forEach((x, at) => {
      const [g, i, j] = [Math.floor(at / (k * n)), Math.floor(at / n) % k, at % n];
      let want = 0;
      for (let r = offsets[g]!; r < offsets[g + 1]!; r++) want = sum(want, product(a[r * k + i]!, b[r * n + j]!));
      expect(x).toBe(want);
    });
  });
});
