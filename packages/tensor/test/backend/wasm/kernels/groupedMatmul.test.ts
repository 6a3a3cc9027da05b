import { describe, expect, test } from "vitest";
import { f32, i32 } from "../../../../src/backend/wasm/assembler.ts";
import {
  GROUPED_WORDS,
  groupedContract,
  groupedRows,
  type GroupedShape,
} from "../../../../src/backend/wasm/kernels/groupedMatmul.ts";
import { REGISTER_TILE, WIDE_REGISTER_TILE } from "../../../../src/backend/wasm/kernels/matmulShape.ts";
import { random, randoms, runRoutine, storing, type RunOptions } from "./harness.ts";

const OFFSETS: Record<string, number[]> = {
  "even groups": [0, 50, 100, 150, 200],
  "an empty first, middle and last group": [0, 0, 130, 130, 200, 200],
  "one group with everything": [0, 200],
  "no rows at all": [0, 0, 0],
  "rows past the last offset": [0, 7, 8, 150],
  "single rows": [0, 1, 2, 3, 200],
  "groups of 0 to 19 rows": Array.from({ length: 21 }, (_, i) => i).map((groups) =>
    Array.from({ length: groups }, (_, i) => (7 * i) % 20).reduce((a, b) => a + b, 0),
  ),
};

function random32(length: number, below: number): Int32Array {
  return Int32Array.from({ length }, () => Math.floor(((random() + 1) / 2) * below));
}

interface Problem {
  shape: GroupedShape;
  a: Float32Array;
  b: Float32Array;
  offsets: Int32Array;
  index: Int32Array | undefined;
}

function problem(
  mode: "rows" | "contract",
  offsets: number[],
  gather: boolean,
  transposed: boolean,
  k = 37,
  n = 45,
): Problem {
  const m = 200;
  const groups = offsets.length - 1;
  const lhsRows = gather ? 60 : m;
  const depth = mode === "rows" ? k : m;
  const b = transposed ? { group: depth * n, row: 1, col: depth } : { group: depth * n, row: n, col: 1 };
  const a = transposed && !gather ? { row: 1, col: lhsRows } : { row: k, col: 1 };
  const index = gather ? random32(m, lhsRows) : undefined;
  if (index) [index[3], index[5], index[140]] = [-1, lhsRows, 2 ** 31 - 1];
  return {
    shape: { m, k, n, groups, lhsRows, a, b },
    a: randoms(lhsRows * k),
    b: randoms(depth * n * (mode === "rows" ? groups : 1)),
    offsets: Int32Array.from(offsets),
    index,
  };
}

function naive(mode: "rows" | "contract", { shape, a, b, offsets, index }: Problem): Float64Array {
  const { m, k, n, groups, lhsRows } = shape;
  const lhs = (r: number, c: number): number => {
    const row = index ? index[r]! : r;
    return row < 0 || row >= lhsRows ? 0 : a[row * shape.a.row + c * shape.a.col]!;
  };
  const out = new Float64Array(mode === "rows" ? m * n : groups * k * n);
  for (let g = 0; g < groups; g++)
    for (let r = offsets[g]!; r < offsets[g + 1]!; r++)
      for (let i = 0; i < k; i++)
        for (let j = 0; j < n; j++) {
          if (mode === "rows") out[r * n + j]! += lhs(r, i) * b[g * shape.b.group + i * shape.b.row + j * shape.b.col]!;
          else out[(g * k + i) * n + j]! += lhs(r, i) * b[r * shape.b.row + j * shape.b.col]!;
        }
  return out;
}

function run(mode: "rows" | "contract", p: Problem, register = REGISTER_TILE, options: RunOptions = {}): Float32Array {
  const routine = (mode === "rows" ? groupedRows : groupedContract)({ register, gather: p.index !== undefined });
  const { m, n, k, groups } = p.shape;
  const inputs = { a: p.a, b: p.b, offsets: p.offsets, ...(p.index && { index: p.index }) };
  return runRoutine(
    routine,
    p.shape,
    inputs,
    { name: "c", data: new Float32Array(mode === "rows" ? m * n : groups * k * n) },
    options,
  );
}

describe.each(["rows", "contract"] as const)("%s", (mode) => {
  describe.each(Object.entries(OFFSETS))("%s", (_, offsets) => {
    test.each([
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ])("agrees with the definition (gather %s, transposed %s)", (gather, transposed) => {
      for (const register of [REGISTER_TILE, WIDE_REGISTER_TILE])
        for (const relaxedMadd of [true, false]) {
          const p = problem(mode, offsets, gather, transposed);
          const got = run(mode, p, register, { relaxedMadd });
          naive(mode, p).forEach((want, i) => {
            if (!(Math.abs(got[i]! - want) < 1e-4)) expect.fail(`element ${i} is ${got[i]}, not ${want}`);
          });
        }
    });
  });

  test("sums longer than a block of k are complete", () => {
    for (const offsets of [[0, 3, 200], OFFSETS["groups of 0 to 19 rows"]!])
      for (const register of [REGISTER_TILE, WIDE_REGISTER_TILE]) {
        const p = problem(mode, offsets, false, false, 600, 20);
        const got = run(mode, p, register);
        naive(mode, p).forEach((want, i) => {
          if (!(Math.abs(got[i]! - want) < 1e-3)) expect.fail(`element ${i} is ${got[i]}, not ${want}`);
        });
      }
  });

  test("sums of no products are zeros, whole register tiles of them too", () => {
    const p = problem(mode, mode === "rows" ? [0, 3, 200] : [0, 0, 0], false, false, mode === "rows" ? 0 : 40, 48);
    expect(run(mode, p).every((x) => Object.is(x, 0))).toBe(true);
  });

  test("the way a matrix is laid out changes no bit", () => {
    for (const offsets of Object.values(OFFSETS))
      for (const register of [REGISTER_TILE, WIDE_REGISTER_TILE])
        for (const k of [37, 300]) {
          const p = problem(mode, offsets, true, false, k, 45);
          const { group, row, col } = p.shape.b;
          const depth = mode === "rows" ? k : p.shape.m;
          const b = new Float32Array(p.b.length);
          for (let g = 0; g < b.length / group; g++)
            for (let i = 0; i < depth; i++)
              for (let j = 0; j < p.shape.n; j++) b[g * group + j * depth + i] = p.b[g * group + i * row + j * col]!;
          const transposed = { ...p, b, shape: { ...p.shape, b: { group, row: 1, col: depth } } };
          expect(run(mode, p, register)).toEqual(run(mode, transposed, register));
        }
  });

  test("no split of the tiles changes a bit", () => {
    const p = problem(mode, OFFSETS["rows past the last offset"]!, true, false, 100, 300);
    const whole = run(mode, p);
    expect(run(mode, p, REGISTER_TILE, { chunk: 1 })).toEqual(whole);
    expect(run(mode, p, REGISTER_TILE, { chunk: 2, backwards: true, shared: true })).toEqual(whole);
  });

  test.each(["a", "b", "offsets", "index"])("nothing is read past the end of %s", (last) => {
    for (const offsets of Object.values(OFFSETS))
      for (const transposed of [false, true]) {
        run(mode, problem(mode, offsets, last === "index", transposed), REGISTER_TILE, { last });
      }
  });

  test("an epilogue sees every element once", () => {
    const p = problem(mode, OFFSETS["an empty first, middle and last group"]!, false, false);
    const { n } = p.shape;
    const rows = mode === "rows" ? p.shape.m : p.shape.k;
    const got = run(mode, p, REGISTER_TILE, {
      epilogue: storing(
        { words: GROUPED_WORDS },
        (group, row) => (mode === "rows" ? row : i32.add(i32.mul(group, rows), row)),
        (x, { row }) => f32.add(x, f32.convert_i32_s(row)),
      ),
    });
    naive(mode, p).forEach((want, i) => {
      const row = Math.floor(i / n) % rows;
      if (!(Math.abs(got[i]! - want - row) < 1e-3)) expect.fail(`element ${i} is ${got[i]}, not ${want + row}`);
    });
  });
});

test("rows past the last offset are exact zeros, whatever lhs holds there", () => {
  const p = problem("rows", [0, 7, 8, 150], false, false);
  p.a.fill(NaN, 150 * p.shape.k);
  expect(
    run("rows", p)
      .subarray(150 * p.shape.n)
      .every((x) => Object.is(x, 0)),
  ).toBe(true);
});

test("an empty group contracts to exact zeros, and rows past the last offset are ignored", () => {
  const p = problem("contract", [0, 100, 100, 150], false, false);
  p.a.fill(NaN, 150 * p.shape.k);
  const got = run("contract", p);
  const size = p.shape.k * p.shape.n;
  expect(got.subarray(size, 2 * size).every((x) => Object.is(x, 0))).toBe(true);
  expect(got.every(Number.isFinite)).toBe(true);
});

test("no bit of a row depends on how many rows its group has", () => {
  for (const register of [REGISTER_TILE, WIDE_REGISTER_TILE]) {
    const together = problem("rows", OFFSETS["one group with everything"]!, false, false, 300, 45);
    for (const offsets of Object.values(OFFSETS)) {
      const { shape } = together;
      const apart = {
        ...together,
        shape: { ...shape, groups: offsets.length - 1, b: { ...shape.b, group: 0 } },
        offsets: Int32Array.from(offsets),
      };
      const size = offsets.at(-1)! * shape.n;
      expect(run("rows", apart, register).subarray(0, size)).toEqual(run("rows", together, register).subarray(0, size));
    }
  }
});

test("the matrix of an empty group is never read", () => {
  const p = problem("rows", [0, 100, 100, 200], false, false);
  p.b.fill(NaN, p.shape.b.group, 2 * p.shape.b.group);
  expect(run("rows", p).every(Number.isFinite)).toBe(true);
});
