import type { RoutineKernel, View } from "../../schedule/plan.ts";
import type { Shape } from "../../types.ts";
import { directLines } from "./direct.ts";
import { bodyLines, storeLines } from "./body.ts";
import { matrixLines } from "./matrices.ts";
import { addressOf, isAligned, mergeBody, mergeView } from "./space.ts";
import type { Dispatch, Shader, SubgroupSizes } from "./shader.ts";
import {
  accumulator,
  invocationsOf,
  multiplyLines,
  panelLines,
  placeWithin,
  rowWithin,
  type Panel,
  type Tile,
} from "./tile.ts";
import { elementType, toElements, valueType } from "./wgsl.ts";

type Epilogue = RoutineKernel["epilogue"];

/**
 * A tiled matrix product. The prologue decides which tile a workgroup makes and defines, as u32 names, `row0` and `column0`
 * (where the tile begins), `row_limit` and `column_limit` (where the matrix ends), and `k_first` and `k_limit`. Each turn loads
 * the next piece of the panels while it multiplies the last one, then puts what it loaded into the other half of the workgroup's
 * memory: one barrier a turn.
 */
export interface Product {
  readonly label: string;
  readonly tile: Tile;
  /** Where the tile is made by quads or by matrices. */
  readonly subgroups: SubgroupSizes | undefined;
  readonly prologue: readonly string[];
  readonly lhs: Panel;
  readonly rhs: Panel;
  readonly workgroups: number;
  readonly finish: Finish;
}

/** What becomes of the result: an epilogue over `[...leading, m, n]`. */
export interface Finish {
  readonly shape: Shape;
  readonly epilogue: Epilogue;
  /** The leading axes merged, and the names of their coordinates. */
  readonly runs: readonly (readonly number[])[];
  readonly leading: readonly string[];
}

export function productDispatch(
  shader: Shader,
  { label, tile, subgroups, prologue, lhs, rhs, workgroups, finish }: Product,
): Dispatch {
  const { dtype } = lhs.operand;
  const accumulators = Array.from({ length: tile.high }, (_, i) =>
    Array.from({ length: tile.wide / 4 }, (__, j) => `var ${accumulator(i, j)} = vec4<${valueType[dtype]}>();`).join(
      " ",
    ),
  );
  if (tile.direct === "quad" || tile.matrices) shader.useSubgroups(subgroups!);
  const across = tile.columns / tile.wide;
  const main = `${prologue.join("\n")}
let down = local / ${across}u;
let right = local % ${across}u;
${accumulators.join("\n")}
${tile.direct ? directLines(shader, tile, lhs, rhs) : sharedLines(shader, tile, lhs, rhs)}
${finishLines(shader, tile, finish)}`;
  return shader.finish(label, main, workgroups, invocationsOf(tile));
}

/** The inner loop through workgroup memory. */
function sharedLines(shader: Shader, tile: Tile, lhs: Panel, rhs: Panel): string {
  const { depth } = tile;
  const invocations = invocationsOf(tile);
  const scalars = tile.matrices !== undefined;
  const { before, multiply, after } = tile.matrices
    ? matrixLines(shader, tile, tile.matrices)
    : { before: "", multiply: multiplyLines(tile, lhs.operand.dtype), after: "" };
  const left = panelLines(shader, lhs, {
    name: "lhs_panel",
    extent: tile.rows,
    depth,
    first: "row0",
    invocations,
    scalars,
  });
  const right = panelLines(shader, rhs, {
    name: "rhs_panel",
    extent: tile.columns,
    depth,
    first: "column0",
    invocations,
    scalars,
  });
  return `${left.declare}
${right.declare}
${before}
var half = 0u;
var k = k_first;
let steps = (max(k_limit, k_first) - k_first + ${depth - 1}u) / ${depth}u;
for (var turn = 0u; turn <= steps; turn++) {
${left.load}
${right.load}
if (turn > 0u) {
${multiply}
half = 1u - half;
}
${left.store}
${right.store}
workgroupBarrier();
k += ${depth}u;
}
${after}`;
}

function finishLines(shader: Shader, tile: Tile, { shape, epilogue, runs, leading }: Finish): string {
  const change = (view: View): View => mergeView(view, shape, runs);
  const body = mergeBody(epilogue.body, change);
  const stores = epilogue.stores.map((s) => ({ ...s, view: change(s.view) }));
  const plain = stores.length === 1 && body.length === 1 && isAligned(stores[0].view) && shape.at(-1)! % 4 === 0;
  if (plain) return vectorLines(shader, tile, stores[0], body[0].dtype, leading);
  const parts = tile.wide / 4;
  const cases = Array.from({ length: tile.high }, (_, i) => {
    const copies = Array.from({ length: parts }, (__, j) => `e${j} = ${accumulator(i, j)};`).join(" ");
    return i === tile.high - 1 ? `default: { ${copies} }` : `case ${i}u: { ${copies} }`;
  });
  const points = Array.from({ length: tile.wide }, (_, c) => {
    const site = {
      coordinates: [...leading, "m", "n"],
      prefix: "v",
      result: `e${c >> 2}[${c & 3}]`,
    };
    return `{
let column = column0 + ${placeWithin(c, "right", tile.columns, tile.wide)};
if (column < column_limit) {
let n = i32(column);
${bodyLines(shader, body, site).join("\n")}
${storeLines(shader, stores, body, site).join("\n")}
}
}`;
  });
  return `for (var i = 0u; i < ${tile.high}u; i++) {
${Array.from({ length: parts }, (_, j) => `var e${j} = ${accumulator(0, j)};`).join("\n")}
switch i { ${cases.join("\n")} }
let row = row0 + down * 4u + (i >> 2u) * ${tile.rows / (tile.high / 4)}u + ${tile.direct === "quad" ? "((i & 3u) ^ right)" : "(i & 3u)"};
if (row < row_limit) {
let m = i32(row);
${points.join("\n")}
}
}`;
}

function vectorLines(
  shader: Shader,
  tile: Tile,
  { buffer, view }: { buffer: number; view: View },
  dtype: Epilogue["body"][number]["dtype"],
  leading: readonly string[],
): string {
  const array = shader.write(buffer, `vec4<${elementType[dtype]}>`);
  const address = addressOf(shader, view, [...leading, "m", "n"]);
  const lines: string[] = [];
  for (let i = 0; i < tile.high; i++) {
    const stores = Array.from({ length: tile.wide / 4 }, (_, j) => {
      const column = `column0 + ${placeWithin(4 * j, "right", tile.columns, tile.wide)}`;
      return `{ let n = i32(${column}); if (n < i32(column_limit)) { ${array}[(${address}) >> 2u] = ${toElements(dtype, accumulator(i, j))}; } }`;
    });
    lines.push(`{
let m = i32(row0 + ${rowWithin(tile, i)});
if (m < i32(row_limit)) {
${stores.join("\n")}
}
}`);
  }
  return lines.join("\n");
}

/** Whether a panel's elements can be loaded four at a time. */
export function loadsVectors(
  strides: { readonly along: number; readonly inner: number; readonly others: readonly number[] },
  sizes: { readonly extent: number; readonly inner: number },
  alongExtent: boolean,
): boolean {
  const { along, inner, others } = strides;
  const rest = others.every((stride) => stride % 4 === 0);
  return alongExtent
    ? along === 1 && inner % 4 === 0 && sizes.extent % 4 === 0 && rest
    : inner === 1 && along % 4 === 0 && sizes.inner % 4 === 0 && rest;
}
