/** C[b, m, n] = A[b, m, k] · B[b, k, n] in f32, from packed panels. */
import { assemble, call, i32, type EmitOptions, type I32 } from "../assembler.ts";
import { scratchBytes } from "../launch.ts";
import { at, defineRun, minimum, type Epilogue } from "./kernel.ts";
import {
  batchSize,
  divideUp,
  locate,
  MATMUL_WORDS,
  matmulExtents,
  matrixAt,
  REGISTER_TILE,
  WIDE_REGISTER_TILE,
  type MatmulRoutine,
  type MatmulShape,
} from "./matmulShape.ts";
import { defineBlock, defineEpilogue, definePackColumns, K_BLOCK, packRows, type RegisterTile } from "./panels.ts";
import { sliverMatmul } from "./sliverMatmul.ts";

const panelCount = (n: number, register: RegisterTile): number => divideUp(n, register.cols);

/**
 * Two steps: B is packed once, by all threads, into column panels; then each tile packs its own rows of A, a block of
 * k at a time, and multiplies.
 */
export function packedMatmul(register: RegisterTile): MatmulRoutine {
  const panelBytes = (k: I32): I32 => i32.mul(k, 4 * register.cols);
  const panels = (n: I32): I32 => i32.div_u(i32.add(n, register.cols - 1), i32.const(register.cols));

  const emitPack = (options: EmitOptions) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const pack = definePackColumns(m, register);
      defineRun(m, MATMUL_WORDS, (f, tile, w) => {
        const count = f.let(panels(w.n));
        const col = f.let(i32.mul(i32.rem_u(tile, count), register.cols));
        const matrix = matrixAt(f, w, "b", i32.div_u(tile, count));
        const [rowStride, colStride] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
        const cols = minimum(f, i32.sub(w.n, col), i32.const(register.cols));
        f.do(
          call(
            pack,
            at(w.temporary, tile, panelBytes(w.k)),
            at(matrix, col, colStride),
            rowStride,
            colStride,
            cols,
            w.k,
          ),
        );
      });
    });

  const emitProduct = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const block = defineBlock(m, register);
      const finish = epilogue && defineEpilogue(m, epilogue);
      defineRun(m, MATMUL_WORDS, (f, tile, w, { args, scratch }) => {
        const { batch, row, col, rows, cols } = locate(f, tile, w);
        const [rowStride, colStride, stride] = [
          f.let(i32.shl(w.aRow, 2)),
          f.let(i32.shl(w.aCol, 2)),
          f.let(i32.shl(w.n, 2)),
        ];
        const a = f.let(at(matrixAt(f, w, "a", batch), row, rowStride));
        const item = f.let(i32.mul(batch, i32.gt_s(w.packedBatch, 1)));
        const panel = i32.add(i32.mul(item, panels(w.n)), i32.div_u(col, i32.const(register.cols)));
        const b = f.let(at(w.temporary, panel, panelBytes(w.k)));
        const c = f.let(i32.add(at(w.c, i32.add(i32.mul(batch, w.m), row), stride), i32.shl(col, 2)));
        const [depth, start] = [f.local("i32"), f.let(i32.const(0))];
        const pad = f.let(i32.add(scratch, scratchBytes - 4 * register.rows * register.cols));
        f.loop((again) => {
          // once even if k is 0: an empty sum is zero
          f.set(depth, minimum(f, i32.sub(w.k, start), i32.const(K_BLOCK)));
          const from = f.let(at(a, start, colStride));
          packRows(f, register, { to: scratch, rows, k: depth, colStride, adjacent: i32.eq(rowStride, 4) }, (r) =>
            at(from, r, rowStride),
          );
          f.do(
            call(
              block,
              scratch,
              at(b, start, i32.const(4 * register.cols)),
              panelBytes(w.k),
              depth,
              c,
              stride,
              rows,
              cols,
              i32.eqz(start),
              pad,
            ),
          );
          f.set(start, i32.add(start, K_BLOCK));
          f.brIf(again, i32.lt_s(start, w.k));
        });
        if (finish !== undefined) f.do(call(finish, args, batch, row, col, rows, cols, c, stride));
      });
    });

  return {
    name: `matmul ${register.rows}x${register.cols}`,
    words: MATMUL_WORDS,
    extents: (shape) => matmulExtents(shape, register),
    temporaryBytes: (shape) =>
      matmulExtents(shape, register).packedBatch * panelCount(shape.n, register) * register.cols * shape.k * 4,
    steps: [
      {
        name: "pack",
        emit: emitPack,
        tiles: (shape) => matmulExtents(shape, register).packedBatch * panelCount(shape.n, register),
      },
      {
        name: "product",
        emit: emitProduct,
        tiles: (shape) =>
          batchSize(shape) * matmulExtents(shape, register).rowTiles * matmulExtents(shape, register).colTiles,
      },
    ],
  };
}

/** The routine to use: which one changes speed and rounding, never meaning. `wide` where the engine fuses to 256 bits. */
export function chooseMatmul({ m, n, a, b }: MatmulShape, wide: boolean): MatmulRoutine {
  const alongK = a.col === 1 && b.row === 1;
  const sliver = (m <= 4 && (b.col === 1 || alongK)) || (n < 4 && alongK);
  return sliver ? sliverMatmul() : packedMatmul(wide ? WIDE_REGISTER_TILE : REGISTER_TILE);
}
