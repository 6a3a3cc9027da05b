/** The inner loops of every f32 matrix product: packing operands into panels, and the register tile that multiplies them. */
import {
  call,
  f32,
  f32x4,
  i32,
  memory,
  v128,
  type Callable,
  type Func,
  type I32,
  type Local,
  type Module,
} from "../assembler.ts";
import { CHUNK, FEW, SCRATCH } from "./scratch.ts";
import { at, minimum, touch, transpose4 } from "./kernel.ts";

/** The block of the result held in registers: rows × cols, cols a multiple of 4. */
export interface RegisterTile {
  readonly rows: number;
  readonly cols: number;
}

/** Copies `cols` (at most tile.cols) columns of B, k rows deep, into a panel [k][tile.cols] padded with zeros. Strides in bytes. */
export function definePackColumns(m: Module, { cols: width }: RegisterTile): Callable<"void"> {
  return m.define(
    { to: "i32", from: "i32", rowStride: "i32", colStride: "i32", cols: "i32", k: "i32" },
    "void",
    (f, p) => {
      const rowBytes = 4 * width;
      const [i, j] = [f.local("i32"), f.local("i32")];
      const [source, target] = [f.local("i32"), f.local("i32")];
      f.if(i32.lt_s(p.cols, width), () => f.do(memory.fill(p.to, 0, i32.mul(p.k, rowBytes))));

      const asRows = (): void => {
        f.for(i, 0, p.k, 1, () => {
          copyRow(f, p.from, p.to, width);
          f.set(p.to, i32.add(p.to, rowBytes));
          f.set(p.from, i32.add(p.from, p.rowStride));
        });
      };
      const transposed = (): void => {
        f.set(i, i32.const(0));
        const column = (c: number): I32 => at(source, i32.const(c), p.colStride);
        f.for(i, 0, i32.and(p.k, -4), 4, () => {
          f.for(j, 0, width, 4, () => {
            f.set(source, i32.add(at(p.from, j, p.colStride), i32.shl(i, 2)));
            f.set(target, i32.add(at(p.to, i, rowBytes), i32.shl(j, 2)));
            transpose4(
              f,
              [0, 1, 2, 3].map((c) => v128.load(column(c))),
            ).forEach((row, r) => f.do(v128.store(target, row, r * rowBytes)));
          });
        });
        oneByOne(i32.and(p.k, -4));
      };
      const oneByOne = (start: I32): void => {
        f.for(j, 0, p.cols, 1, () => {
          f.set(source, i32.add(at(p.from, j, p.colStride), i32.mul(start, p.rowStride)));
          f.set(target, i32.add(at(p.to, start, rowBytes), i32.shl(j, 2)));
          f.for(i, start, p.k, 1, () => {
            f.do(f32.store(target, f32.load(source)));
            f.set(target, i32.add(target, rowBytes));
            f.set(source, i32.add(source, p.rowStride));
          });
        });
      };
      const full = i32.eq(p.cols, width);
      f.if(i32.and(full, i32.eq(p.colStride, 4)), asRows, () => {
        f.if(i32.and(full, i32.eq(p.rowStride, 4)), transposed, () => oneByOne(i32.const(0)));
      });
    },
  );
}

/**
 * Copies `rows` rows of A, k columns deep, into panels [k][tile.rows], the last padded with zeros. `rowAt` gives the
 * address of a row's first element, or 0 for a row of zeros; `adjacent` says that rows are 4 bytes apart.
 */
export function packRows(
  f: Func,
  { rows: height }: RegisterTile,
  p: { to: I32; rows: I32; k: I32; colStride: Local<"i32">; adjacent: I32 },
  rowAt: (row: I32) => I32,
): void {
  const [panel, i] = [f.local("i32"), f.local("i32")];
  const target = f.let(p.to);
  const k = f.let(p.k);
  const sources = Array.from({ length: height }, () => f.local("i32"));
  const steps = sources.map(() => f.local("i32"));
  const zeros = f.let(i32.add(target, i32.mul(i32.mul(i32.div_s(i32.add(p.rows, height - 1), height), k), 4 * height)));
  f.do(v128.store(zeros, f32x4.const(0))); // just past the panels: where rows that do not exist are read from, with step 0

  const copyOne = (): void =>
    sources.forEach((source, r) => {
      f.do(f32.store(target, f32.load(source), 4 * r));
      f.set(source, i32.add(source, steps[r]!));
    });
  f.for(panel, 0, p.rows, height, () => {
    const contiguous = f.let(i32.eq(p.colStride, 4));
    sources.forEach((source, r) => {
      f.set(source, i32.const(0));
      f.if(i32.lt_s(i32.add(panel, r), p.rows), () => f.set(source, rowAt(i32.add(panel, r))));
      f.set(steps[r]!, p.colStride);
      f.if(i32.eqz(source), () => {
        f.set(source, zeros);
        f.set(steps[r]!, i32.const(0));
        f.set(contiguous, i32.const(0));
      });
    });
    f.set(i, i32.const(0));
    const whole = i32.le_s(i32.add(panel, height), p.rows);
    f.if(i32.and(p.adjacent, whole), () =>
      f.for(i, 0, k, 1, () => {
        copyRow(f, sources[0]!, target, height);
        f.set(sources[0]!, i32.add(sources[0]!, p.colStride));
        f.set(target, i32.add(target, 4 * height));
      }),
    );
    f.if(contiguous, () =>
      f.while(i32.le_s(i32.add(i, 4), k), () => {
        interleave(f, sources, target);
        f.set(target, i32.add(target, 16 * height));
        f.set(i, i32.add(i, 4));
      }),
    );
    f.while(i32.lt_s(i, k), () => {
      copyOne();
      f.set(target, i32.add(target, 4 * height));
      f.set(i, i32.add(i, 1));
    });
  });
}

/** Copies `count` adjacent floats. */
export function copyRow(f: Func, from: I32, to: I32, count: number): void {
  let done = 0;
  for (; done + 4 <= count; done += 4) f.do(v128.store(to, v128.load(from, 4 * done), 4 * done));
  if (done + 2 <= count) {
    f.do(v128.store64_lane(to, v128.load64_zero(from, 4 * done), 0, 4 * done));
    done += 2;
  }
  if (done < count) f.do(f32.store(to, f32.load(from, 4 * done), 4 * done));
}

/** Moves the next four elements of each row into [4][rows], and the row pointers on. */
function interleave(f: Func, sources: readonly Local<"i32">[], target: I32): void {
  const height = sources.length;
  const loaded = sources.map((source) => f.let(v128.load(source)));
  for (let r = 0; r < height;) {
    const [a, b] = [loaded[r]!, loaded[r + 1] ?? loaded[r]!];
    if (r + 4 <= height) {
      transpose4(f, loaded.slice(r, r + 4)).forEach((column, i) =>
        f.do(v128.store(target, column, 4 * (i * height + r))),
      );
      r += 4;
    } else if (r + 2 <= height) {
      const pairs = [f.let(v128.shuffle32(a, b, [0, 4, 1, 5])), f.let(v128.shuffle32(a, b, [2, 6, 3, 7]))];
      for (let i = 0; i < 4; i++) f.do(v128.store64_lane(target, pairs[i >> 1]!, i & 1, 4 * (i * height + r)));
      r += 2;
    } else {
      for (let i = 0; i < 4; i++) f.do(v128.store32_lane(target, a, i, 4 * (i * height + r)));
      r += 1;
    }
  }
  for (const source of sources) f.set(source, i32.add(source, 16));
}

/**
 * c = a·b, or c += a·b where `first` is 0, by how many rows of a register tile there are: a is [k][rows], b is [k][cols], c has a row
 * stride in bytes, and so has b where it is not packed.
 */
function defineMultiplies(m: Module, { rows, cols }: RegisterTile, inPlace: boolean): Callable<"void">[] {
  const vectors = cols / 4;
  const unroll = 4;
  const words = { a: "i32", b: "i32", bStride: "i32", k: "i32", c: "i32", stride: "i32", first: "i32" } as const;
  return Array.from({ length: rows }, (_, last) =>
    m.define(words, "void", (f, { a, b, bStride, k, c, stride, first }) => {
      const sums = Array.from({ length: last + 1 }, () => Array.from({ length: vectors }, () => f.local("v128")));
      const right = Array.from({ length: vectors }, () => f.local("v128"));
      const left = f.local("v128");
      const step = (u: number): void => {
        right.forEach((vector, j) => f.set(vector, v128.load(b, inPlace ? 16 * j : 4 * (u * cols + 4 * j))));
        if (inPlace) f.set(b, i32.add(b, bStride));
        sums.forEach((row, r) => {
          f.set(left, v128.load32_splat(a, 4 * (u * rows + r)));
          row.forEach((sum, j) => f.set(sum, f32x4.madd(left, right[j]!, sum)));
        });
      };
      const steps = (count: number): void => {
        for (let u = 0; u < count; u++) step(u);
        f.set(a, i32.add(a, 4 * rows * count));
        if (!inPlace) f.set(b, i32.add(b, 4 * cols * count));
        f.set(k, i32.sub(k, count));
      };
      f.while(i32.ge_s(k, unroll), () => steps(unroll));
      f.while(k, () => steps(1));
      const store = (add: boolean): void => {
        for (const line of sums) {
          line.forEach((sum, j) => f.do(v128.store(c, add ? f32x4.add(v128.load(c, 16 * j), sum) : sum, 16 * j)));
          f.set(c, i32.add(c, stride));
        }
      };
      f.if(
        first,
        () => store(false),
        () => store(true),
      );
    }),
  );
}

/** Multiplies a block of packed rows by the packed columns beside it; `c` is the block's corner of the result, `pad` room for one register tile. */
export function defineBlock(m: Module, tile: RegisterTile): Callable<"void"> {
  // By how many rows are there: the last rows of a small group are not padded with work.
  const multiply = defineMultiplies(m, tile, false);
  const whole = multiply[tile.rows - 1]!;
  const rowBytes = i32.const(4 * tile.cols);
  const settle = defineSettle(m, tile);
  const words = {
    a: "i32",
    b: "i32",
    panelBytes: "i32",
    k: "i32",
    c: "i32",
    stride: "i32",
    rows: "i32",
    cols: "i32",
    first: "i32",
    pad: "i32",
  } as const;
  return m.define(words, "void", (f, p) => {
    const [i, j, a, corner] = [f.local("i32"), f.local("i32"), f.local("i32"), f.local("i32")];
    const aBytes = f.let(i32.mul(p.k, 4 * tile.rows));
    const wholeRows = f.let(i32.mul(i32.div_s(p.rows, tile.rows), tile.rows));
    const rest = f.let(i32.sub(p.rows, wholeRows));
    const product = (kernel: Callable<"void">): void =>
      f.do(call(kernel, a, p.b, rowBytes, p.k, corner, p.stride, p.first));
    f.for(j, 0, p.cols, tile.cols, () => {
      f.set(a, p.a);
      f.set(corner, i32.add(p.c, i32.shl(j, 2)));
      const next = (): void => {
        f.set(a, i32.add(a, aBytes));
        f.set(corner, at(corner, i32.const(tile.rows), p.stride));
      };
      f.if(
        i32.le_s(i32.add(j, tile.cols), p.cols),
        () => {
          f.for(i, 0, wholeRows, tile.rows, () => {
            product(whole);
            next();
          });
          multiply.slice(0, -1).forEach((kernel, r) => f.if(i32.eq(rest, r + 1), () => product(kernel)));
        },
        () =>
          f.for(i, 0, p.rows, tile.rows, () => {
            f.do(call(whole, a, p.b, rowBytes, p.k, p.pad, rowBytes, i32.const(1)));
            f.do(call(settle, p.pad, corner, p.stride, i32.sub(p.rows, i), i32.sub(p.cols, j), p.first));
            next();
          }),
      );
      f.set(p.b, i32.add(p.b, p.panelBytes));
    });
  });
}

/**
 * `defineBlock` for columns that are not packed yet: a tile packs them for itself, some at a time, into its scratch. For few rows, or many
 * matrices with few rows each, that is cheaper than packing B once for all: it is read once and nothing is written back to memory. For
 * fewer still it is not packed at all, if its columns are adjacent. No bit depends on which it is.
 */
export function defineFreshBlock(m: Module, tile: RegisterTile): Callable<"void"> {
  const multiply = defineMultiplies(m, tile, true);
  const pack = definePackColumns(m, tile);
  const block = defineBlock(m, tile);
  const words = {
    scratch: "i32",
    b: "i32",
    rowStride: "i32",
    colStride: "i32",
    k: "i32",
    c: "i32",
    stride: "i32",
    rows: "i32",
    cols: "i32",
    first: "i32",
  } as const;
  return m.define(words, "void", (f, p) => {
    const [j, l, room] = [f.local("i32"), f.local("i32"), f.let(i32.add(p.scratch, SCRATCH.columns))];
    const [a, pad] = [i32.add(p.scratch, SCRATCH.rows), f.let(i32.add(p.scratch, SCRATCH.pad))];
    const few = f.let(i32.le_s(p.rows, FEW));
    const adjacent = i32.and(i32.eq(p.colStride, 4), i32.or(few, i32.le_s(p.k, FEW)));
    const whole = f.let(i32.mul(i32.and(p.cols, i32.const(-tile.cols)), adjacent));
    f.if(whole, () => {
      const [i, bytes] = [f.local("i32"), f.let(i32.shl(whole, 2))];
      touch(f, p.b, p.rowStride, p.k, bytes);
      f.for(i, 0, p.rows, tile.rows, () => {
        const rows = minimum(f, i32.sub(p.rows, i), i32.const(tile.rows));
        const [panel, line] = [f.let(at(a, i32.mul(i, p.k), 4)), f.let(at(p.c, i, p.stride))];
        f.for(j, 0, bytes, 4 * tile.cols, () =>
          multiply.forEach((kernel, r) =>
            f.if(i32.eq(rows, r + 1), () =>
              f.do(call(kernel, panel, i32.add(p.b, j), p.rowStride, p.k, i32.add(line, j), p.stride, p.first)),
            ),
          ),
        );
      });
    });
    f.for(j, whole, p.cols, CHUNK, () => {
      const cols = minimum(f, i32.sub(p.cols, j), i32.const(CHUNK));
      const from = f.let(at(p.b, j, p.colStride));
      f.if(i32.and(few, i32.eq(p.rowStride, 4)), () => touch(f, from, p.colStride, cols, i32.shl(p.k, 2)));
      const panelBytes = i32.mul(p.k, 4 * tile.cols);
      f.for(l, 0, cols, tile.cols, () => {
        const width = minimum(f, i32.sub(cols, l), i32.const(tile.cols));
        const to = i32.add(room, i32.shl(i32.mul(l, p.k), 2));
        f.do(call(pack, to, at(from, l, p.colStride), p.rowStride, p.colStride, width, p.k));
      });
      const corner = i32.add(p.c, i32.shl(j, 2));
      f.do(call(block, a, room, panelBytes, p.k, corner, p.stride, p.rows, cols, p.first, pad));
    });
  });
}

/** Moves what exists of a register tile from the pad to the result, by the same sums as a whole tile. */
function defineSettle(m: Module, tile: RegisterTile): Callable<"void"> {
  return m.define({ pad: "i32", c: "i32", stride: "i32", rows: "i32", cols: "i32", first: "i32" }, "void", (f, p) => {
    const [i, j] = [f.local("i32"), f.local("i32")];
    const rows = minimum(f, p.rows, i32.const(tile.rows));
    const bytes = f.let(i32.shl(minimum(f, p.cols, i32.const(tile.cols)), 2));
    f.for(i, 0, rows, 1, () => {
      const copy = (sum: (from: I32, to: I32) => ReturnType<typeof f32.load>): void =>
        f.for(j, 0, bytes, 4, () => {
          const [from, to] = [i32.add(p.pad, j), i32.add(p.c, j)];
          f.do(f32.store(to, sum(from, to)));
        });
      f.if(
        p.first,
        () => copy((from) => f32.load(from)),
        () => copy((from, to) => f32.add(f32.load(to), f32.load(from))),
      );
      f.set(p.pad, i32.add(p.pad, 4 * tile.cols));
      f.set(p.c, i32.add(p.c, p.stride));
    });
  });
}
