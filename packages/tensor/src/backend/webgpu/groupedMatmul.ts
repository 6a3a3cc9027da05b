import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { chooseTile, panelOf, rowLookup } from "./matmul.ts";
import { productDispatch } from "./product.ts";
import type { Dispatch, Shader } from "./shader.ts";
import { elementType } from "./wgsl.ts";

type GroupedMatmul = Extract<RoutineKernel, { op: "groupedMatmul" }>;

/** Each run of rows by its own matrix. Where the runs are is on the device: nothing here waits for it. */
export function lowerGroupedMatmul(kernel: GroupedMatmul, lowering: Lowering): Lowered {
  if (sizeOf(kernel.shape) === 0) return [];
  return [kernel.attrs.mode === "rows" ? lowerRows(kernel, lowering) : lowerContract(kernel, lowering)];
}

/** A function for the offset of a group, brought into range: rows past the last are nobody's. */
function declareOffsets(shader: Shader, kernel: GroupedMatmul, rows: number): void {
  const offsets = shader.read(kernel.operands[2].buffer, elementType.i32);
  shader.declarations.push(`fn offset_of(g: u32) -> u32 { return u32(clamp(${offsets}[g], 0, ${shader.int(rows)})); }`);
}

/**
 * `[m, k] · [g, k, n] -> [m, n]`. Group i begins at tile `⌊offsets[i] / rows⌋ + i`, which ascends and leaves room enough for
 * `⌈size / rows⌉` tiles: so `⌊m / rows⌋ + g + 1` tiles do for any offsets, and a workgroup finds its group by bisection. The
 * rows past the last offset are one more group, of an empty product.
 */
function lowerRows(kernel: GroupedMatmul, lowering: Lowering): Dispatch {
  const [lhs, rhs] = kernel.operands;
  const [m, n] = kernel.shape;
  const [groups, k] = rhs.shape;
  const tile = chooseTile(lhs.dtype, groups, Math.ceil(m / groups), n, lowering);
  const shader = shaderFor(lowering);
  declareOffsets(shader, kernel, m);
  const across = Math.ceil(n / tile.columns);
  const prologue = [
    `let tiles_across = ${shader.uint(across)};`,
    `let groups = ${shader.uint(groups)};`,
    "let tile = group / tiles_across;",
    `let column0 = group % tiles_across * ${tile.columns}u;`,
    `let column_limit = ${shader.uint(n)};`,
    "var g = 0u;",
    "var g_last = groups;",
    "while (g < g_last) {",
    "let middle = (g + g_last + 1u) / 2u;",
    `if (offset_of(middle) / ${tile.rows}u + middle <= tile) { g = middle; } else { g_last = middle - 1u; }`,
    "}",
    "let g_begin = offset_of(g);",
    `let row0 = g_begin + (tile - g_begin / ${tile.rows}u - g) * ${tile.rows}u;`,
    `var row_limit = ${shader.uint(m)};`,
    `var k_limit = 0u;`,
    `if (g < groups) { row_limit = offset_of(g + 1u); k_limit = ${shader.uint(k)}; }`,
    "if (row0 >= row_limit) { return; }",
    "let k_first = 0u;",
    `let lhs_base = ${shader.int(lhs.view.offset)};`,
    `let rhs_base = ${shader.int(rhs.view.offset)} + i32(g) * ${shader.int(rhs.view.strides[0])};`,
  ];
  const lookup = kernel.rows && rowLookup(shader, kernel.rows, lhs, "extent");
  const lhsNames = { extent: "row_limit", inner: "k_limit", base: "lhs_base" };
  return productDispatch(shader, {
    label: kernel.name,
    tile,
    subgroups: lowering.limits.subgroups,
    prologue,
    lhs: panelOf(lhs, { along: -2, inner: -1 }, lhsNames, lookup, { extent: false }),
    rhs: panelOf(rhs, { along: -1, inner: -2 }, { extent: "column_limit", inner: "k_limit", base: "rhs_base" }),
    workgroups: across * (Math.floor(m / tile.rows) + groups + 1),
    finish: { shape: kernel.shape, epilogue: kernel.epilogue, runs: [[0], [1]], leading: [] },
  });
}

/** `[m, k]ᵀ · [m, n] -> [g, k, n]`: a product of each group's rows, whose number is k here. */
function lowerContract(kernel: GroupedMatmul, lowering: Lowering): Dispatch {
  const [lhs, rhs] = kernel.operands;
  const [groups, height, width] = kernel.shape;
  const rows = rhs.shape[0];
  const tile = chooseTile(lhs.dtype, groups, height, width, lowering);
  const shader = shaderFor(lowering);
  declareOffsets(shader, kernel, rows);
  const [down, across] = [Math.ceil(height / tile.rows), Math.ceil(width / tile.columns)];
  const prologue = [
    `let tiles_down = ${shader.uint(down)};`,
    `let tiles_across = ${shader.uint(across)};`,
    "let g = group / (tiles_down * tiles_across);",
    `if (g >= ${shader.uint(groups)}) { return; }`,
    "let tile = group % (tiles_down * tiles_across);",
    `let row0 = tile / tiles_across * ${tile.rows}u;`,
    `let column0 = tile % tiles_across * ${tile.columns}u;`,
    `let row_limit = ${shader.uint(height)};`,
    `let column_limit = ${shader.uint(width)};`,
    "let k_first = offset_of(g);",
    "let k_limit = offset_of(g + 1u);",
    "let leading = i32(g);",
    `let lhs_base = ${shader.int(lhs.view.offset)};`,
    `let rhs_base = ${shader.int(rhs.view.offset)};`,
  ];
  const lookup = kernel.rows && rowLookup(shader, kernel.rows, lhs, "inner");
  const lhsNames = { extent: "row_limit", inner: "k_limit", base: "lhs_base" };
  const rhsNames = { extent: "column_limit", inner: "k_limit", base: "rhs_base" };
  return productDispatch(shader, {
    label: kernel.name,
    tile,
    subgroups: lowering.limits.subgroups,
    prologue,
    lhs: panelOf(lhs, { along: -1, inner: -2 }, lhsNames, lookup, { inner: false }),
    rhs: panelOf(rhs, { along: -1, inner: -2 }, rhsNames, undefined, { inner: false }),
    workgroups: down * across * groups,
    finish: { shape: kernel.shape, epilogue: kernel.epilogue, runs: [[0], [1], [2]], leading: ["leading"] },
  });
}
