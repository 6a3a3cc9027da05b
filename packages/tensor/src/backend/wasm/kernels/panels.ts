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
  type V128,
} from "../assembler.ts";
import { at, definePartial, minimum, transpose4, type Epilogue } from "./kernel.ts";

/** The block of the result held in registers: rows × cols, cols a multiple of 4. */
export interface RegisterTile {
  readonly rows: number;
  readonly cols: number;
}

/** Sums over k are taken in blocks of this size, each added to the result in turn: a panel of B then fits the first-level cache. */
export const K_BLOCK = 256;

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
          for (let x = 0; x < rowBytes; x += 16) f.do(v128.store(p.to, v128.load(p.from, x), x));
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

/** c = a·b, or c += a·b where `first` is 0, for one register tile: a is [k][rows], b is [k][cols], c has a row stride in bytes. */
function defineMultiply(m: Module, { rows, cols }: RegisterTile): Callable<"void"> {
  const vectors = cols / 4;
  const unroll = 4;
  return m.define(
    { a: "i32", b: "i32", k: "i32", c: "i32", stride: "i32", first: "i32" },
    "void",
    (f, { a, b, k, c, stride, first }) => {
      const sums = Array.from({ length: rows }, () => Array.from({ length: vectors }, () => f.local("v128")));
      const right = Array.from({ length: vectors }, () => f.local("v128"));
      const left = f.local("v128");
      const step = (u: number): void => {
        right.forEach((vector, j) => f.set(vector, v128.load(b, 4 * (u * cols + 4 * j))));
        sums.forEach((row, r) => {
          f.set(left, v128.load32_splat(a, 4 * (u * rows + r)));
          row.forEach((sum, j) => f.set(sum, f32x4.madd(left, right[j]!, sum)));
        });
      };
      const steps = (count: number): void => {
        for (let u = 0; u < count; u++) step(u);
        f.set(a, i32.add(a, 4 * rows * count));
        f.set(b, i32.add(b, 4 * cols * count));
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
    },
  );
}

/** Multiplies a block of packed rows by the packed columns beside it; `c` is the block's corner of the result, `pad` room for one register tile. */
export function defineBlock(m: Module, tile: RegisterTile): Callable<"void"> {
  const multiply = defineMultiply(m, tile);
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
    f.for(j, 0, p.cols, tile.cols, () => {
      f.set(a, p.a);
      const wide = f.let(i32.le_s(i32.add(j, tile.cols), p.cols));
      f.for(i, 0, p.rows, tile.rows, () => {
        f.set(corner, i32.add(at(p.c, i, p.stride), i32.shl(j, 2)));
        const whole = i32.and(wide, i32.le_s(i32.add(i, tile.rows), p.rows));
        f.if(
          whole,
          () => f.do(call(multiply, a, p.b, p.k, corner, p.stride, p.first)),
          () => {
            f.do(call(multiply, a, p.b, p.k, p.pad, i32.const(4 * tile.cols), i32.const(1)));
            f.do(call(settle, p.pad, corner, p.stride, i32.sub(p.rows, i), i32.sub(p.cols, j), p.first));
          },
        );
        f.set(a, i32.add(a, aBytes));
      });
      f.set(p.b, i32.add(p.b, p.panelBytes));
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

/** Applies an epilogue to a finished block of the result, four columns at a time, the last ones fewer. */
export function defineEpilogue(m: Module, epilogue: Epilogue): Callable<"void"> {
  const partial = definePartial(m);
  const words = {
    args: "i32",
    batch: "i32",
    row: "i32",
    col: "i32",
    rows: "i32",
    cols: "i32",
    c: "i32",
    stride: "i32",
  } as const;
  return m.define(words, "void", (f, p) => {
    const [end, last] = [f.let(i32.add(p.row, p.rows)), f.let(i32.add(p.col, p.cols))];
    const [row, col, address] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const whole = f.let(i32.add(p.col, i32.and(p.cols, -4)));
    const rest = f.let(i32.sub(last, whole));
    f.for(row, p.row, end, 1, () => {
      f.set(address, p.c);
      const context = { f, args: p.args, batch: p.batch, row, col };
      const whole4 = {
        ...context,
        load: (from: I32) => v128.load(from),
        store: (to: I32, x: V128) => f.do(v128.store(to, x)),
      };
      f.for(col, p.col, whole, 4, () => {
        f.do(v128.store(address, epilogue(f.let(v128.load(address)), whole4)));
        f.set(address, i32.add(address, 16));
      });
      f.if(rest, () => {
        const load = (from: I32): V128 => call(partial.load, from, rest);
        const store = (to: I32, x: V128): void => f.do(call(partial.store, to, x, rest));
        store(address, epilogue(f.let(load(address)), { ...context, load, store }));
      });
      f.set(p.c, i32.add(p.c, p.stride));
    });
  });
}
