import type { LoopKernel, Operand, RoutineKernel, View } from "../../schedule/plan.ts";
import { sizeOf, stridesOf } from "../../shape.ts";
import type { DType } from "../../types.ts";
import { lowerLoop } from "./loop.ts";
import { shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { matrixTile } from "./matrices.ts";
import { loadsVectors, productDispatch, type Finish } from "./product.ts";
import type { Dispatch, Shader } from "./shader.ts";
import { addressOf, mergeShape, mergeView, runsOf, splitPosition, viewsOf } from "./space.ts";
import { loadsAlong, serialTile, tiles, workgroupBytes, type Panel, type Tile } from "./tile.ts";
import { elementType, heldAs } from "./wgsl.ts";

type Matmul = Extract<RoutineKernel, { op: "matmul" }>;

/** Workgroups enough to fill a large GPU: smaller tiles are less efficient but spread better. */
const manyTiles = 128;

/** The largest tile that still makes enough workgroups, of `batch` products `[m, k]·[k, n]`. */
export function chooseTile(dtype: DType, batch: number, m: number, n: number, lowering: Lowering): Tile {
  if (lowering.limits.serial) return serialTile(lowering.limits.subgroups, m);
  const matrices = matrixTile(dtype, lowering.limits);
  if (matrices && m > 16) return matrices;
  const fitting = tiles.filter((tile) => workgroupBytes(tile) <= lowering.limits.workgroupBytes);
  const few = fitting.filter((tile) => m > 16 || tile.rows === 16);
  const count = (tile: Tile): number => batch * Math.ceil(m / tile.rows) * Math.ceil(n / tile.columns);
  return few.find((tile) => count(tile) >= manyTiles) ?? few.find((tile) => tile.rows <= 32) ?? few[few.length - 1];
}

/** `[...b, m, k] · [...b, k, n]`, its tiles taken in bands of eight rows of tiles so that neighbours share operands in the cache. */
export function lowerMatmul(kernel: Matmul, lowering: Lowering): Lowered {
  const { shape } = kernel;
  if (sizeOf(shape) === 0) return [];
  const [m, n] = shape.slice(-2);
  const k = kernel.operands[0].shape.at(-1)!;
  const batch = sizeOf(shape.slice(0, -2));
  const tile = chooseTile(kernel.operands[0].dtype, batch, m, n, lowering);
  const pieces = piecesOf(batch * Math.ceil(m / tile.rows) * Math.ceil(n / tile.columns), k);
  if (pieces === 1) return [matmulDispatch(kernel, tile, { pieces, size: k }, lowering)];
  return splitInner(kernel, tile, { pieces, size: Math.ceil(k / pieces / 16) * 16 }, lowering);
}

/** The least work, in steps of k, that a workgroup should have. */
const leastInner = 512;

/** In how many pieces of k a product with few tiles is made. */
const piecesOf = (workgroups: number, k: number): number =>
  Math.max(Math.min(Math.floor(manyTiles / workgroups), Math.floor(k / leastInner)), 1);

/** A product with few tiles and a long k: pieces of k as products of their own, then their sum in fixed order and the epilogue. */
function splitInner(kernel: Matmul, tile: Tile, cut: Cut, lowering: Lowering): Lowered {
  const { shape, epilogue, name } = kernel;
  const dtype = heldAs(kernel.dtype);
  const size = sizeOf(shape);
  const buffer = lowering.scratch(size * cut.pieces * 4);
  const strides = stridesOf(shape);
  const parts: Matmul = {
    ...kernel,
    epilogue: { body: [{ op: "result", dtype }], stores: [{ buffer, view: { offset: 0, strides }, value: 0 }] },
  };
  const view = { offset: 0, strides: [...strides, size] };
  const sum: LoopKernel = {
    kind: "loop",
    name,
    outer: shape,
    row: [cut.pieces],
    stages: [
      { kind: "reduce", op: "sum", dtype, body: [{ op: "load", buffer, view, dtype }], value: 0 },
      {
        kind: "map",
        over: "outer",
        body: epilogue.body.map((i) => (i.op === "result" ? { op: "reduced", stage: 0, dtype: i.dtype } : i)),
        stores: epilogue.stores,
      },
    ],
  };
  return [matmulDispatch(parts, tile, cut, lowering), ...lowerLoop(sum, lowering)];
}

interface Cut {
  readonly pieces: number;
  /** Elements of k to a piece. */
  readonly size: number;
}

/** The product, or its pieces of k, by tiles of one kind. */
export function matmulDispatch(kernel: Matmul, tile: Tile, cut: Cut, lowering: Lowering): Dispatch {
  const { operands, rows, name, epilogue } = kernel;
  const [lhs, rhs] = operands;
  // Pieces of k are one more leading axis, whose results lie one after the other.
  const shape = [cut.pieces, ...kernel.shape];
  const total = sizeOf(kernel.shape);
  const widen = (view: View, stride: number): View => ({
    offset: view.offset,
    strides: [stride, ...view.strides],
    bounds: view.bounds && [[0, cut.pieces], ...view.bounds],
  });
  const finishing = {
    body: epilogue.body.map((i) =>
      "view" in i
        ? { ...i, view: widen(i.view, 0) }
        : i.op === "inside"
          ? { ...i, bounds: [[0, cut.pieces] as const, ...i.bounds] }
          : i,
    ),
    stores: epilogue.stores.map((s) => ({ ...s, view: widen(s.view, total) })),
  };
  const rank = shape.length - 2;
  const [m, n] = shape.slice(-2);
  const k = lhs.shape.at(-1)!;
  const shader = shaderFor(lowering);
  const leadingOf = ({ view }: Operand): View => ({
    offset: view.offset,
    strides: [0, ...view.strides.slice(0, rank - 1)],
  });
  const leads = [lhs, rhs].map(leadingOf);
  const lead = runsOf(shape, [...viewsOf(finishing.body, finishing.stores), ...leads], 0, rank);
  const outer = splitPosition(shader, "batch", mergeShape(shape, lead), "c");
  const [down, across] = [Math.ceil(m / tile.rows), Math.ceil(n / tile.columns)];
  const base = (view: View): string => addressOf(shader, mergeView(view, shape, lead), outer.names);
  const prologue = [
    `let tiles_down = ${shader.uint(down)};`,
    `let tiles_across = ${shader.uint(across)};`,
    "let batch = group / (tiles_down * tiles_across);",
    `if (batch >= ${shader.uint(sizeOf(shape.slice(0, -2)))}) { return; }`,
    "let tile = group % (tiles_down * tiles_across);",
    "let band = tile / (8u * tiles_across) * 8u;",
    "let band_rows = min(tiles_down - band, 8u);",
    "let within = tile - band * tiles_across;",
    `let row0 = (band + within % band_rows) * ${tile.rows}u;`,
    `let column0 = within / band_rows * ${tile.columns}u;`,
    `let row_limit = ${shader.uint(m)};`,
    `let column_limit = ${shader.uint(n)};`,
    ...outer.lines,
    `let piece = batch / ${shader.uint(sizeOf(kernel.shape.slice(0, -2)))};`,
    `let k_first = piece * ${shader.uint(cut.size)};`,
    `let k_limit = min(k_first + ${shader.uint(cut.size)}, ${shader.uint(k)});`,
    `let lhs_base = ${base(leads[0])};`,
    `let rhs_base = ${base(leads[1])};`,
  ];
  const lookup = rows && rowLookup(shader, rows, lhs, "extent");
  const finish: Finish = { shape, epilogue: finishing, runs: [...lead, [rank], [rank + 1]], leading: outer.names };
  return productDispatch(shader, {
    label: name,
    tile,
    subgroups: lowering.limits.subgroups,
    prologue,
    lhs: panelOf(lhs, { along: -2, inner: -1 }, { extent: "row_limit", inner: "k_limit", base: "lhs_base" }, lookup),
    rhs: panelOf(rhs, { along: -1, inner: -2 }, { extent: "column_limit", inner: "k_limit", base: "rhs_base" }),
    workgroups: down * across * sizeOf(shape.slice(0, -2)),
    finish,
  });
}

/** The index vector that chooses rows of an operand. */
export function rowLookup(
  shader: Shader,
  rows: Operand,
  chosenFrom: Operand,
  axis: "extent" | "inner",
): Panel["lookup"] {
  const array = shader.read(rows.buffer, elementType.i32);
  return { array, axis, limit: shader.int(chosenFrom.shape[0]) };
}

/** An operand as a panel; `axes` says which of its axes is the extent and which is k. */
export function panelOf(
  operand: Operand,
  axes: { readonly along: number; readonly inner: number },
  names: { readonly extent: string; readonly inner: string; readonly base: string },
  lookup?: Panel["lookup"],
  aligned: { readonly extent?: boolean; readonly inner?: boolean } = {},
): Panel {
  const { view, shape } = operand;
  const along = view.strides.at(axes.along)!;
  const inner = view.strides.at(axes.inner)!;
  const others = [view.offset, ...view.strides.slice(0, -2)];
  const panel: Panel = {
    operand,
    along,
    inner,
    extentLimit: names.extent,
    innerLimit: names.inner,
    base: names.base,
    vector: false,
    lookup,
  };
  const alongExtent = loadsAlong(panel);
  const starts = alongExtent ? aligned.extent !== false : aligned.inner !== false;
  const sizes = { extent: shape.at(axes.along)!, inner: shape.at(axes.inner)! };
  return { ...panel, vector: starts && loadsVectors({ along, inner, others }, sizes, alongExtent) };
}
