/** C[b, m, n] = A[b, m, k] · B[b, k, n] in f32, from packed panels. */
import { assemble, call, i32, type EmitOptions, type I32 } from "../assembler.ts";
import { at, defineRun, homeOf, inBlocks, minimum, type Epilogue } from "./kernel.ts";
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
import { defineBlock, defineFreshBlock, definePackColumns, packRows, type RegisterTile } from "./panels.ts";
import { K_BLOCK, SCRATCH } from "./scratch.ts";
import { sliverMatmul } from "./sliverMatmul.ts";

const panelCount = (n: number, register: RegisterTile): number => divideUp(n, register.cols);

const panelBytes = (k: I32, register: RegisterTile): I32 => i32.mul(k, 4 * register.cols);
const panelsOf = (n: I32, register: RegisterTile): I32 =>
  i32.div_u(i32.add(n, register.cols - 1), i32.const(register.cols));

/**
 * Two steps: B is packed once, by all threads, into column panels; then each tile packs its own rows of A, a block of
 * k at a time, and multiplies.
 */
export function packedMatmul(register: RegisterTile): MatmulRoutine {
  return {
    name: `matmul ${register.rows}x${register.cols}`,
    words: MATMUL_WORDS,
    extents: (shape) => matmulExtents(shape, register),
    temporaryBytes: (shape) =>
      matmulExtents(shape, register).packedBatch * panelCount(shape.n, register) * register.cols * shape.k * 4,
    steps: [
      {
        name: "pack",
        emit: (options) => emitPack(options, register),
        tiles: (shape) => matmulExtents(shape, register).packedBatch * panelCount(shape.n, register),
      },
      productStep(register, "packed"),
    ],
  };
}

/** One step: each tile packs its own part of B too. For many small products. */
export function freshMatmul(register: RegisterTile): MatmulRoutine {
  return {
    name: `matmul fresh ${register.rows}x${register.cols}`,
    words: MATMUL_WORDS,
    extents: (shape) => matmulExtents(shape, register),
    temporaryBytes: () => 0,
    steps: [productStep(register, "fresh")],
  };
}

function emitPack(options: EmitOptions, register: RegisterTile) {
  return assemble(options, (m) => {
    m.importMemory("env", "memory");
    const pack = definePackColumns(m, register);
    defineRun(m, MATMUL_WORDS, (f, tile, w) => {
      const count = f.let(panelsOf(w.n, register));
      const col = f.let(i32.mul(i32.rem_u(tile, count), register.cols));
      const matrix = matrixAt(f, w, "b", i32.div_u(tile, count));
      const [rowStride, colStride] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
      const cols = minimum(f, i32.sub(w.n, col), i32.const(register.cols));
      const [to, from] = [at(w.temporary, tile, panelBytes(w.k, register)), at(matrix, col, colStride)];
      f.do(call(pack, to, from, rowStride, colStride, cols, w.k));
    });
  });
}

function productStep(register: RegisterTile, columns: "packed" | "fresh"): MatmulRoutine["steps"][number] {
  const emit = (options: EmitOptions, epilogue?: Epilogue) =>
    assemble(options, (m) => {
      m.importMemory("env", "memory");
      const finish = epilogue?.define(m, MATMUL_WORDS.length);
      const block = columns === "packed" ? defineBlock(m, register) : defineFreshBlock(m, register);
      defineRun(m, MATMUL_WORDS, (f, tile, w, { args, scratch }) => {
        const { batch, row, col, rows, cols } = locate(f, tile, w);
        const [rowStride, colStride] = [f.let(i32.shl(w.aRow, 2)), f.let(i32.shl(w.aCol, 2))];
        const [bRow, bCol] = [f.let(i32.shl(w.bRow, 2)), f.let(i32.shl(w.bCol, 2))];
        const a = f.let(at(matrixAt(f, w, "a", batch), row, rowStride));
        const { c, stride } = homeOf(f, w, scratch, epilogue, { line: i32.add(i32.mul(batch, w.m), row), col });
        const item = f.let(i32.mul(batch, i32.gt_s(w.packedBatch, 1)));
        const panel = i32.add(i32.mul(item, panelsOf(w.n, register)), i32.div_u(col, i32.const(register.cols)));
        const b = f.let(
          columns === "packed"
            ? at(w.temporary, panel, panelBytes(w.k, register))
            : at(matrixAt(f, w, "b", batch), col, bCol),
        );
        inBlocks(f, w.k, K_BLOCK, (start, depth) => {
          const from = f.let(at(a, start, colStride));
          const to = i32.add(scratch, SCRATCH.rows);
          packRows(f, register, { to, rows, k: depth, colStride, adjacent: i32.eq(rowStride, 4) }, (r) =>
            at(from, r, rowStride),
          );
          const first = i32.eqz(start);
          if (columns === "packed") {
            const right = at(b, start, i32.const(4 * register.cols));
            const pad = i32.add(scratch, SCRATCH.pad);
            f.do(call(block, to, right, panelBytes(w.k, register), depth, c, stride, rows, cols, first, pad));
          } else {
            f.do(call(block, scratch, at(b, start, bRow), bRow, bCol, depth, c, stride, rows, cols, first));
          }
        });
        if (finish) f.do(call(finish, args, batch, row, col, rows, cols, c, stride));
      });
    });
  return {
    name: "product",
    emit,
    tiles(shape) {
      const { rowTiles, colTiles } = matmulExtents(shape, register);
      return batchSize(shape) * rowTiles * colTiles;
    },
  };
}

/** With fewer rows than this that share a matrix, packing it beforehand would not pay. */
const FEW_ROWS = 256;

/** The routine to use: which one changes speed and rounding, never meaning. `wide` where the engine fuses to 256 bits. */
export function chooseMatmul({ batch, m, n, a, b }: MatmulShape, wide: boolean): MatmulRoutine {
  const alongK = a.col === 1 && b.row === 1;
  const sliver = (m <= 4 && (b.col === 1 || alongK)) || (n < 4 && alongK);
  if (sliver) return sliverMatmul();
  const register = wide ? WIDE_REGISTER_TILE : REGISTER_TILE;
  const sharing = batch.reduce((rows, extent, i) => (b.batch[i] === 0 ? rows * extent : rows), m);
  return sharing < FEW_ROWS ? freshMatmul(register) : packedMatmul(register);
}
