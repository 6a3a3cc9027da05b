import type { DType } from "../../types.ts";
import type { Limits } from "./lower.ts";
import type { Shader } from "./shader.ts";
import { accumulator, invocationsOf, placeWithin, scalarPitch, type Tile } from "./tile.ts";

/** A product that a subgroup makes at once, on tensor cores where there are any: `[m, k] · [k, n]` of f16, added up in f32. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** How a workgroup's tile is made of such products. */
export interface Matrices extends MatrixShape {
  /** Neighbouring results, `m`×`n` each, that a subgroup makes. */
  readonly each: number;
}

/** What matrices of 8 and 16 divide; it has not been tuned on hardware. */
const tile = { rows: 64, columns: 64, high: 4, wide: 4, depth: 16, unroll: 4 } as const;

/** The tile of a product of f16 where subgroups multiply matrices whose sizes divide it. Other dtypes would lose digits. */
export function matrixTile(dtype: DType, { matrices, subgroups, workgroupBytes }: Limits): Tile | undefined {
  if (dtype !== "f16" || !matrices || !subgroups || subgroups.least !== subgroups.most) return undefined;
  const { m, n, k } = matrices;
  const each = ((tile.rows / m) * (tile.columns / n) * subgroups.least) / invocationsOf(tile);
  const whole = [tile.rows / m, tile.depth / k, each, tile.columns / n / each].every(Number.isInteger);
  const panels = 2 * 2 * tile.depth * (scalarPitch(tile.rows) + scalarPitch(tile.columns));
  const fits = panels + 4 * tile.rows * tile.columns <= workgroupBytes;
  return whole && fits ? { ...tile, matrices: { ...matrices, each } } : undefined;
}

/** What multiplies the panels in half `half`, and, before and after all of that, gives subgroups their part and invocations theirs. */
export function matrixLines(
  shader: Shader,
  { rows, columns, high, wide, depth }: Tile,
  { m, n, k, each }: Matrices,
): { before: string; multiply: string; after: string } {
  shader.declarations.push(`var<workgroup> results: array<f32, ${rows * columns}>;`);
  const across = columns / n;
  const parts = Array.from({ length: each }, (_, i) => i);
  const load = (side: "left" | "right", of: string, order: string, offset: string, extent: number): string =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${of}>, ${order}>(&${side === "left" ? "lhs" : "rhs"}_panel, half * ${depth * scalarPitch(extent)}u + ${offset}, ${scalarPitch(extent)}u)`;
  const before = [
    `let part_row = subgroup * ${each}u / ${across}u * ${m}u;`,
    `let part_column = subgroup * ${each}u % ${across}u * ${n}u;`,
    ...parts.map((i) => `var sum${i} = subgroup_matrix_result<f32, ${n}, ${m}>();`),
  ];
  const multiply = Array.from({ length: depth / k }, (_, step) => {
    const left = load("left", `${k}, ${m}`, "col_major", `${step * k * scalarPitch(rows)}u + part_row`, rows);
    const right = (i: number): string =>
      load("right", `${n}, ${k}`, "row_major", `${step * k * scalarPitch(columns) + i * n}u + part_column`, columns);
    const sums = parts.map((i) => `sum${i} = subgroupMatrixMultiplyAccumulate(left, ${right(i)}, sum${i});`);
    return ["{", `let left = ${left};`, ...sums, "}"].join("\n");
  });
  const stores = parts.map(
    (i) =>
      `subgroupMatrixStore<row_major>(&results, part_row * ${columns}u + part_column + ${i * n}u, sum${i}, ${columns}u);`,
  );
  const loads = Array.from({ length: high }, (_, i) =>
    Array.from({ length: wide / 4 }, (__, j) => {
      const four = [0, 1, 2, 3].map((c) => `results[at + ${c}u]`).join(", ");
      const row = placeWithin(i, "down", rows, high);
      return `{ let at = (${row}) * ${columns}u + ${placeWithin(4 * j, "right", columns, wide)}; ${accumulator(i, j)} = vec4(${four}); }`;
    }),
  ).flat();
  return {
    before: before.join("\n"),
    multiply: multiply.join("\n"),
    after: [...stores, "workgroupBarrier();", ...loads].join("\n"),
  };
}
