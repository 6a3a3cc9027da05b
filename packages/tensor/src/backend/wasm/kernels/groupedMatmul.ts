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
import { at, defineRun, homeOf, inBlocks, minimum, type Epilogue, type Home, type Routine } from "./kernel.ts";
import { claimTile, divideUp } from "./matmulShape.ts";
import { copyRow, defineFreshBlock, packRows, type RegisterTile } from "./panels.ts";
import { K_BLOCK, SCRATCH } from "./scratch.ts";

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

/**
 * `[m, k] · [g, k, n] -> [m, n]`: rows offsets[i]..offsets[i+1] by matrix i. Rows past the last offset are zero before
 * the epilogue, which sees them as a group of their own, number g.
 */
export function groupedRows({ register, gather }: GroupedOptions): GroupedRoutine {
  // As if all rows were one group's: a tile of a small group takes all of it, so that its matrix is packed once.
  const tileOf = ({ m, n, k }: GroupedShape) => claimTile(m, n, k, 1, register);

  const emit = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const finish = epilogue?.define(m, GROUPED_WORDS.length);
      const block = defineFreshBlock(m, register);
      defineRun(m, GROUPED_WORDS, (f, tile, w, { args, scratch }) => {
        const col = f.let(i32.mul(i32.rem_u(tile, w.colTiles), w.tileCols));
        const cols = minimum(f, w.tileCols, i32.sub(w.n, col));
        const { group, row, rows } = findRows(f, w, i32.div_u(tile, w.colTiles));
        const { c, stride } = homeOf(f, w, scratch, epilogue, { line: row, col });
        const product = (): void => {
          const [bRow, bCol] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
          const b = f.let(at(at(w.b, group, i32.shl(w.bGroup, 2)), col, bCol));
          const [rowStride, colStride] = [f.let(i32.shl(w.aRow, 2)), f.let(i32.shl(w.aCol, 2))];
          const address = lhsRow(f, w, gather, rowStride);
          const adjacent = gather ? i32.const(0) : i32.eq(rowStride, 4);
          inBlocks(f, w.k, K_BLOCK, (start, depth) => {
            const across = f.let(i32.mul(start, colStride));
            const to = i32.add(scratch, SCRATCH.rows);
            packRows(f, register, { to, rows, k: depth, colStride, adjacent }, (r) => {
              const home = f.let(address(i32.add(row, r)));
              return select(home, i32.add(home, across), home);
            });
            const first = i32.eqz(start);
            f.do(call(block, scratch, at(b, start, bRow), bRow, bCol, depth, c, stride, rows, cols, first));
          });
        };
        f.if(rows, () => {
          f.if(i32.eq(group, w.groups), () => zeroRows(f, { c, stride }, rows, cols), product);
          if (finish) f.do(call(finish, args, group, row, col, rows, cols, c, stride));
        });
      });
    });

  return {
    name: `groupedMatmul rows ${register.rows}x${register.cols}${gather ? " gather" : ""}`,
    words: GROUPED_WORDS,
    extents: (shape) => groupedExtents(shape, shape.m, tileOf(shape)),
    temporaryBytes: () => 0,
    steps: [
      {
        name: "product",
        emit,
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

  const emit = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const finish = epilogue?.define(m, GROUPED_WORDS.length);
      const block = defineFreshBlock(m, register);
      defineRun(m, GROUPED_WORDS, (f, tile, w, { args, scratch }) => {
        const blockOf = f.let(i32.div_u(tile, w.colTiles));
        const group = f.let(i32.div_u(blockOf, w.rowTiles));
        const row = f.let(i32.mul(i32.rem_u(blockOf, w.rowTiles), w.tileRows));
        const col = f.let(i32.mul(i32.rem_u(tile, w.colTiles), w.tileCols));
        const [rows, cols] = [minimum(f, w.tileRows, i32.sub(w.k, row)), minimum(f, w.tileCols, i32.sub(w.n, col))];
        const first = f.let(offsetAt(w, group, i32.const(0)));
        const count = f.let(i32.sub(offsetAt(w, i32.add(group, 1), first), first));
        const { c, stride } = homeOf(f, w, scratch, epilogue, { line: i32.add(i32.mul(group, w.k), row), col });
        const product = (): void => {
          const [bRow, bCol] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
          const b = f.let(at(at(w.b, first, bRow), col, bCol));
          const [rowStride, colStride] = [f.let(i32.shl(w.aRow, 2)), f.let(i32.shl(w.aCol, 2))];
          const across = f.let(i32.mul(row, colStride));
          const address = lhsRow(f, w, gather, rowStride);
          inBlocks(f, count, K_BLOCK, (start, depth) => {
            const to = i32.add(scratch, SCRATCH.rows);
            packTransposed(f, register, { to, cols: rows, depth, colStride, across }, (r) =>
              address(i32.add(i32.add(first, start), r)),
            );
            const empty = i32.eqz(start);
            f.do(call(block, scratch, at(b, start, bRow), bRow, bCol, depth, c, stride, rows, cols, empty));
          });
        };
        f.if(count, product, () => zeroRows(f, { c, stride }, rows, cols));
        if (finish) f.do(call(finish, args, group, row, col, rows, cols, c, stride));
      });
    });

  return {
    name: `groupedMatmul contract ${register.rows}x${register.cols}${gather ? " gather" : ""}`,
    words: GROUPED_WORDS,
    extents: (shape) => groupedExtents(shape, shape.k, tileOf(shape)),
    temporaryBytes: () => 0,
    steps: [
      {
        name: "product",
        emit,
        tiles(shape) {
          const tile = tileOf(shape);
          return shape.groups * divideUp(shape.k, tile.rows) * divideUp(shape.n, tile.cols);
        },
      },
    ],
  };
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

function zeroRows(f: Func, { c, stride }: Home, rows: I32, cols: I32): void {
  const i = f.local("i32");
  f.for(i, 0, rows, 1, () => f.do(memory.fill(at(c, i, stride), 0, i32.shl(cols, 2))));
}

/** Packs lhs for `contract`: panels [depth][tile.rows] of its columns, one row of lhs after another, so that each is found once. */
function packTransposed(
  f: Func,
  { rows: height }: RegisterTile,
  p: { to: I32; cols: I32; depth: I32; colStride: I32; across: I32 },
  rowAt: (row: I32) => I32,
): void {
  const [panel, r, from, to] = [f.local("i32"), f.local("i32"), f.local("i32"), f.local("i32")];
  const panelBytes = f.let(i32.mul(p.depth, 4 * height));
  const start = f.let(p.to);
  const whole = f.let(i32.mul(i32.div_s(p.cols, height), i32.mul(i32.eq(p.colStride, 4), height)));
  f.for(r, 0, p.depth, 1, () => {
    const home = f.let(rowAt(r));
    const row = f.let(i32.add(home, p.across));
    const last = f.let(select(home, whole, i32.const(0)));
    f.set(to, start);
    f.set(from, row);
    f.for(panel, 0, last, height, () => {
      copyRow(f, from, to, height);
      f.set(from, i32.add(from, 4 * height));
      f.set(to, i32.add(to, panelBytes));
    });
    f.for(panel, last, p.cols, height, () => {
      for (let i = 0; i < height; i++) {
        f.do(f32.store(to, 0, 4 * i));
        const exists = i32.and(i32.ne(home, 0), i32.lt_s(i32.add(panel, i), p.cols));
        f.if(exists, () => f.do(f32.store(to, f32.load(at(row, i32.add(panel, i), p.colStride)), 4 * i)));
      }
      f.set(to, i32.add(to, panelBytes));
    });
    f.set(start, i32.add(start, 4 * height));
  });
}
