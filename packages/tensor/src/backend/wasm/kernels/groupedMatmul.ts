/**
 * Products of runs of rows with a matrix each, in f32. `offsets` is in device memory, so which group a tile belongs to
 * is known only when it runs: the number of tiles is a bound, and a tile finds its group by walking the offsets.
 */
import {
  assemble,
  call,
  f32,
  i32,
  memory,
  select,
  type EmitOptions,
  type Func,
  type I32,
  type Local,
} from "../assembler.ts";
import { scratchBytes } from "../launch.ts";
import { at, defineRun, minimum, type Epilogue, type Routine } from "./kernel.ts";
import { claimTile, divideUp } from "./matmulShape.ts";
import {
  copyRow,
  defineBlock,
  defineEpilogue,
  definePackColumns,
  K_BLOCK,
  packRows,
  type RegisterTile,
} from "./panels.ts";

/** Strides are in elements. */
export interface GroupedShape {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly groups: number;
  /** Rows of lhs there are to read from: `m`, or with an index what its entries must stay below. */
  readonly lhsRows: number;
  readonly a: { readonly row: number; readonly col: number };
  /** `group` has no meaning where rhs is `[m, n]`. */
  readonly b: { readonly group: number; readonly row: number; readonly col: number };
}

/** `index` is read only by a routine made with `gather`. */
export type GroupedPointer = "a" | "b" | "c" | "offsets" | "index" | "temporary";

const EXTENTS = [
  "m",
  "k",
  "n",
  "groups",
  "lhsRows",
  "aRow",
  "aCol",
  "bGroup",
  "bRow",
  "bCol",
  "tileRows",
  "tileCols",
  "rowTiles",
  "colTiles",
] as const;
export const GROUPED_WORDS = ["a", "b", "c", "offsets", "index", "temporary", ...EXTENTS] as const;
export type GroupedLocals = Record<(typeof GROUPED_WORDS)[number], Local<"i32">>;
export type GroupedRoutine = Routine<GroupedShape, GroupedPointer, (typeof EXTENTS)[number]>;

export interface GroupedOptions {
  readonly register: RegisterTile;
  /** Row r of lhs is read from row `index[r]`; an index out of range reads zeros. */
  readonly gather: boolean;
}

/** The words of a result whose tiles are cut from `rows × n`. */
export function groupedExtents(shape: GroupedShape, rows: number, tile: { rows: number; cols: number }) {
  const { m, k, n, groups, lhsRows, a, b } = shape;
  return {
    m,
    k,
    n,
    groups,
    lhsRows,
    aRow: a.row,
    aCol: a.col,
    bGroup: b.group,
    bRow: b.row,
    bCol: b.col,
    tileRows: tile.rows,
    tileCols: tile.cols,
    rowTiles: divideUp(rows, tile.rows),
    colTiles: divideUp(n, tile.cols),
  };
}

/** Row `group` of the offsets, kept between `start` and m so that bad offsets cannot reach outside the result. */
export function offsetAt(w: GroupedLocals, group: I32, start: I32): I32 {
  const offset = i32.load(at(w.offsets, group, 4));
  const atMost = select(i32.lt_s(offset, w.m), offset, w.m);
  return select(i32.lt_s(atMost, start), start, atMost);
}

/** The address of row r of lhs, or 0 for a row of zeros. */
export function lhsRow(f: Func, w: GroupedLocals, gather: boolean, rowStride: I32): (row: I32) => I32 {
  if (!gather) return (row) => at(w.a, row, rowStride);
  const entry = f.local("i32");
  return (row) => {
    f.set(entry, i32.load(at(w.index, row, 4)));
    return select(i32.lt_u(entry, w.lhsRows), at(w.a, entry, rowStride), i32.const(0));
  };
}

const panelBytes = (k: I32, register: RegisterTile): I32 => i32.mul(k, 4 * register.cols);
const panelsOf = (n: I32, register: RegisterTile): I32 =>
  i32.div_u(i32.add(n, register.cols - 1), i32.const(register.cols));

/** Step one of both modes: column panels of rhs, `depth` rows deep; `groups` of them, or one. Groups without rows are left out. */
function emitPack(options: EmitOptions, register: RegisterTile, depth: "k" | "m"): Uint8Array<ArrayBuffer> {
  return assemble(options, (m) => {
    m.importMemory("env", "memory");
    const pack = definePackColumns(m, register);
    defineRun(m, GROUPED_WORDS, (f, tile, w) => {
      const count = f.let(panelsOf(w.n, register));
      const group = f.let(i32.div_u(tile, count));
      const col = f.let(i32.mul(i32.rem_u(tile, count), register.cols));
      const [rowStride, colStride] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
      const from = at(at(w.b, group, i32.shl(w.bGroup, 2)), col, colStride);
      const cols = minimum(f, i32.sub(w.n, col), i32.const(register.cols));
      const used =
        depth === "m"
          ? i32.const(1)
          : i32.lt_s(i32.load(at(w.offsets, group, 4)), i32.load(at(w.offsets, group, 4), 4));
      f.if(used, () =>
        f.do(
          call(pack, at(w.temporary, tile, panelBytes(w[depth], register)), from, rowStride, colStride, cols, w[depth]),
        ),
      );
    });
  });
}

/**
 * `[m, k] · [g, k, n] -> [m, n]`: rows offsets[i]..offsets[i+1] by matrix i. Rows past the last offset are zero before
 * the epilogue, which sees them as a group of their own, number g.
 */
export function groupedRows({ register, gather }: GroupedOptions): GroupedRoutine {
  const tileOf = ({ m, n, k, groups }: GroupedShape) =>
    claimTile(divideUp(m, Math.max(groups, 1)), n, k, groups, register);
  const panels = ({ n }: GroupedShape): number => divideUp(n, register.cols);

  const emitProduct = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const block = defineBlock(m, register);
      const finish = epilogue && defineEpilogue(m, epilogue);
      defineRun(m, GROUPED_WORDS, (f, tile, w, { args, scratch }) => {
        const col = f.let(i32.mul(i32.rem_u(tile, w.colTiles), w.tileCols));
        const cols = minimum(f, w.tileCols, i32.sub(w.n, col));
        const { group, row, rows } = findRows(f, w, i32.div_u(tile, w.colTiles));
        const stride = f.let(i32.shl(w.n, 2));
        const c = f.let(i32.add(at(w.c, row, stride), i32.shl(col, 2)));
        f.if(
          i32.eq(group, w.groups),
          () => zeroRows(f, c, stride, rows, cols),
          () => {
            const panel = i32.add(i32.mul(group, panelsOf(w.n, register)), i32.div_u(col, i32.const(register.cols)));
            const b = f.let(at(w.temporary, panel, panelBytes(w.k, register)));
            const [rowStride, colStride] = [f.let(i32.shl(w.aRow, 2)), f.let(i32.shl(w.aCol, 2))];
            const address = lhsRow(f, w, gather, rowStride);
            const adjacent = gather ? i32.const(0) : i32.eq(rowStride, 4);
            inBlocks(f, w.k, i32.gt_s(rows, 0), (start, depth) => {
              const across = f.let(i32.mul(start, colStride));
              packRows(f, register, { to: scratch, rows, k: depth, colStride, adjacent }, (r) => {
                const home = f.let(address(i32.add(row, r)));
                return select(home, i32.add(home, across), home);
              });
              const bAt = at(b, start, i32.const(4 * register.cols));
              f.do(
                call(
                  block,
                  scratch,
                  bAt,
                  panelBytes(w.k, register),
                  depth,
                  c,
                  stride,
                  rows,
                  cols,
                  i32.eqz(start),
                  padOf(scratch, register),
                ),
              );
            });
          },
        );
        if (finish !== undefined) f.do(call(finish, args, group, row, col, rows, cols, c, stride));
      });
    });

  return {
    name: `groupedMatmul rows ${register.rows}x${register.cols}${gather ? " gather" : ""}`,
    words: GROUPED_WORDS,
    extents: (shape) => groupedExtents(shape, shape.m, tileOf(shape)),
    temporaryBytes: (shape) => shape.groups * panels(shape) * register.cols * shape.k * 4,
    steps: [
      {
        name: "pack",
        emit: (options) => emitPack(options, register, "k"),
        tiles: (shape) => shape.groups * panels(shape),
      },
      {
        name: "product",
        emit: emitProduct,
        tiles(shape) {
          const tile = tileOf(shape);
          return (divideUp(shape.m, tile.rows) + shape.groups) * divideUp(shape.n, tile.cols);
        },
      },
    ],
  };
}

/** `[m, k]ᵀ · [m, n] -> [g, k, n]`: matrix i from rows offsets[i]..offsets[i+1] of both. Rows past the last offset are ignored. */
export function groupedContract({ register, gather }: GroupedOptions): GroupedRoutine {
  const tileOf = ({ m, n, k, groups }: GroupedShape) =>
    claimTile(k, n, divideUp(m, Math.max(groups, 1)), groups, register);
  const panels = ({ n }: GroupedShape): number => divideUp(n, register.cols);

  const emitProduct = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const block = defineBlock(m, register);
      const finish = epilogue && defineEpilogue(m, epilogue);
      defineRun(m, GROUPED_WORDS, (f, tile, w, { args, scratch }) => {
        const blockOf = f.let(i32.div_u(tile, w.colTiles));
        const group = f.let(i32.div_u(blockOf, w.rowTiles));
        const row = f.let(i32.mul(i32.rem_u(blockOf, w.rowTiles), w.tileRows));
        const col = f.let(i32.mul(i32.rem_u(tile, w.colTiles), w.tileCols));
        const [rows, cols] = [minimum(f, w.tileRows, i32.sub(w.k, row)), minimum(f, w.tileCols, i32.sub(w.n, col))];
        const first = f.let(offsetAt(w, group, i32.const(0)));
        const count = f.let(i32.sub(offsetAt(w, i32.add(group, 1), first), first));
        const stride = f.let(i32.shl(w.n, 2));
        const c = f.let(i32.add(at(w.c, i32.add(i32.mul(group, w.k), row), stride), i32.shl(col, 2)));
        const b = f.let(
          at(
            at(w.temporary, i32.div_u(col, i32.const(register.cols)), panelBytes(w.m, register)),
            first,
            i32.const(4 * register.cols),
          ),
        );
        const [rowStride, colStride] = [f.let(i32.shl(w.aRow, 2)), f.let(i32.shl(w.aCol, 2))];
        const across = f.let(i32.mul(row, colStride));
        inBlocks(f, count, i32.const(1), (start, depth) => {
          const address = lhsRow(f, w, gather, rowStride);
          packTransposed(f, register, { to: scratch, cols: rows, depth, colStride, across }, (r) =>
            address(i32.add(i32.add(first, start), r)),
          );
          const bAt = at(b, start, i32.const(4 * register.cols));
          f.do(
            call(
              block,
              scratch,
              bAt,
              panelBytes(w.m, register),
              depth,
              c,
              stride,
              rows,
              cols,
              i32.eqz(start),
              padOf(scratch, register),
            ),
          );
        });
        if (finish !== undefined) f.do(call(finish, args, group, row, col, rows, cols, c, stride));
      });
    });

  return {
    name: `groupedMatmul contract ${register.rows}x${register.cols}${gather ? " gather" : ""}`,
    words: GROUPED_WORDS,
    extents: (shape) => groupedExtents(shape, shape.k, tileOf(shape)),
    temporaryBytes: (shape) => panels(shape) * register.cols * shape.m * 4,
    steps: [
      { name: "pack", emit: (options) => emitPack(options, register, "m"), tiles: panels },
      {
        name: "product",
        emit: emitProduct,
        tiles(shape) {
          const tile = tileOf(shape);
          return shape.groups * divideUp(shape.k, tile.rows) * divideUp(shape.n, tile.cols);
        },
      },
    ],
  };
}

const padOf = (scratch: I32, register: RegisterTile): I32 =>
  i32.add(scratch, scratchBytes - 4 * register.rows * register.cols);

/** Runs the body on blocks of at most K_BLOCK of `total`, once if there are none: an empty sum is zero. */
function inBlocks(f: Func, total: I32, condition: I32, body: (start: Local<"i32">, depth: Local<"i32">) => void): void {
  const start = f.let(i32.const(0));
  const depth = f.local("i32");
  f.if(condition, () =>
    f.loop((again) => {
      f.set(depth, minimum(f, i32.sub(total, start), i32.const(K_BLOCK)));
      body(start, depth);
      f.set(start, i32.add(start, K_BLOCK));
      f.brIf(again, i32.lt_s(start, total));
    }),
  );
}

/** The group and rows of row tile number `index`, counting each group's tiles in turn; the rows past the last offset are group number g. No rows where the bound was not reached. */
function findRows(f: Func, w: GroupedLocals, index: I32) {
  const left = f.let(index);
  const group = f.let(i32.const(0));
  const [row, rows] = [f.let(i32.const(0)), f.let(i32.const(0))];
  const [start, end] = [f.let(i32.const(0)), f.local("i32")];
  f.block((found) =>
    f.loop((again) => {
      f.set(end, w.m);
      f.if(i32.lt_s(group, w.groups), () => f.set(end, offsetAt(w, i32.add(group, 1), start)));
      const tiles = f.let(i32.div_u(i32.sub(i32.add(end, w.tileRows), i32.add(start, 1)), w.tileRows));
      f.if(i32.lt_s(left, tiles), () => {
        f.set(row, at(start, left, w.tileRows));
        f.set(rows, minimum(f, w.tileRows, i32.sub(end, row)));
        f.br(found);
      });
      f.brIf(found, i32.eq(group, w.groups));
      f.set(left, i32.sub(left, tiles));
      f.set(start, end);
      f.set(group, i32.add(group, 1));
      f.br(again);
    }),
  );
  return { group, row, rows };
}

function zeroRows(f: Func, c: I32, stride: I32, rows: I32, cols: I32): void {
  const i = f.local("i32");
  f.for(i, 0, rows, 1, () => f.do(memory.fill(at(c, i, stride), 0, i32.shl(cols, 2))));
}

/** Packs lhs for `contract`: panels [depth][tile.rows] of its columns, one row of lhs after another. */
function packTransposed(
  f: Func,
  { rows: height }: RegisterTile,
  p: { to: I32; cols: I32; depth: I32; colStride: I32; across: I32 },
  rowAt: (row: I32) => I32,
): void {
  const [panel, r, home, from, to] = [f.local("i32"), f.local("i32"), f.local("i32"), f.local("i32"), f.let(p.to)];
  f.for(panel, 0, p.cols, height, () => {
    const whole = f.let(i32.and(i32.eq(p.colStride, 4), i32.le_s(i32.add(panel, height), p.cols)));
    f.for(r, 0, p.depth, 1, () => {
      f.set(home, rowAt(r));
      f.set(from, at(i32.add(home, p.across), panel, p.colStride));
      f.if(
        i32.and(whole, i32.ne(home, 0)),
        () => copyRow(f, from, to, height),
        () => {
          for (let i = 0; i < height; i++) {
            f.do(f32.store(to, 0, 4 * i));
            const exists = i32.and(i32.ne(home, 0), i32.lt_s(i32.add(panel, i), p.cols));
            f.if(exists, () => f.do(f32.store(to, f32.load(at(from, i32.const(i), p.colStride)), 4 * i)));
          }
        },
      );
      f.set(to, i32.add(to, 4 * height));
    });
  });
}
