import type { Instruction, Operand, RoutineKernel, Store } from "../../../schedule/plan.ts";
import { stridesOf } from "../../../shape.ts";
import type { DType } from "../../../types.ts";
import { groupedContract, groupedRows, type GroupedRoutine, type GroupedShape } from "../kernels/groupedMatmul.ts";
import { chooseMatmul } from "../kernels/matmul.ts";
import { REGISTER_TILE, WIDE_REGISTER_TILE, type MatmulShape } from "../kernels/matmulShape.ts";
import { scalarGroupedContract, scalarGroupedRows, scalarMatmul, type ScalarElement } from "../kernels/scalar.ts";
import { fuseEpilogue, type FusedEpilogue } from "../loops/epilogue.ts";
import { collapseBatch, mostBatchAxes } from "./batch.ts";
import { createLowering, type Lowering } from "./lowering.ts";
import type { LowerRoutine } from "./routine.ts";

const scalarElement = (dtype: DType): ScalarElement => (dtype === "f64" ? "f64" : "i32");

/** `[...b, m, k] · [...b, k, n]`: packed panels in f32, plain loops in the other dtypes. */
export const matmul: LowerRoutine<"matmul"> = (kernel, plan, features) => {
  const own = createLowering(plan, features);
  let [lhs, rhs] = kernel.operands;
  if (kernel.rows) lhs = copyRows(own, lhs, kernel.rows);
  let batch = collapseBatch(lhs, rhs);
  if (batch.shape.length > mostBatchAxes) {
    [lhs, rhs] = [copy(own, lhs), copy(own, rhs)];
    batch = collapseBatch(lhs, rhs);
  }
  const [m, k] = lhs.shape.slice(-2);
  const shape: MatmulShape = {
    batch: batch.shape,
    m,
    k,
    n: rhs.shape[rhs.shape.length - 1],
    a: { batch: batch.lhs, ...matrixStrides(lhs) },
    b: { batch: batch.rhs, ...matrixStrides(rhs) },
  };
  const routine =
    kernel.dtype === "f32" ? chooseMatmul(shape, features.wide) : scalarMatmul(scalarElement(kernel.dtype));
  storeThrough(own, kernel, (c, epilogue) => own.routine(routine, shape, { a: lhs, b: rhs, c }, epilogue));
  return own.finish();
};

/** Runs of rows with a matrix each; in f32 the gather of rows happens while they are packed. */
export const groupedMatmul: LowerRoutine<"groupedMatmul"> = (kernel, plan, features) => {
  const own = createLowering(plan, features);
  const [source, rhs, offsets] = kernel.operands;
  const inPacking = kernel.dtype === "f32" ? kernel.rows : undefined;
  const lhs = kernel.rows && !inPacking ? copyRows(own, source, kernel.rows) : source;
  const [groupStride] = rhs.view.strides;
  const shape: GroupedShape = {
    m: inPacking ? inPacking.shape[0] : lhs.shape[0],
    k: lhs.shape[1],
    n: rhs.shape[rhs.shape.length - 1],
    groups: offsets.shape[0] - 1,
    lhsRows: lhs.shape[0],
    a: matrixStrides(lhs),
    b: { group: kernel.attrs.mode === "rows" ? groupStride : 0, ...matrixStrides(rhs) },
  };
  const register = features.wide ? WIDE_REGISTER_TILE : REGISTER_TILE;
  const packed = { register, gather: inPacking !== undefined };
  const routine: GroupedRoutine =
    kernel.attrs.mode === "rows"
      ? kernel.dtype === "f32"
        ? groupedRows(packed)
        : scalarGroupedRows(scalarElement(kernel.dtype))
      : kernel.dtype === "f32"
        ? groupedContract(packed)
        : scalarGroupedContract(scalarElement(kernel.dtype));
  storeThrough(own, kernel, (c, epilogue) =>
    own.routine(routine, shape, { a: lhs, b: rhs, c, offsets, index: inPacking }, epilogue),
  );
  return own.finish();
};

const matrixStrides = ({ view }: Operand): { row: number; col: number } => {
  const [row, col] = view.strides.slice(-2);
  return { row, col };
};

/**
 * Lets `product` store where the epilogue would, if that is all the epilogue does; else hands it the epilogue, to be applied block by block;
 * or, where that cannot be done, lets it store into an array that the epilogue then reads.
 */
function storeThrough(
  own: Lowering,
  kernel: RoutineKernel,
  product: (c: Pick<Operand, "buffer" | "view"> | undefined, epilogue?: FusedEpilogue) => void,
): void {
  const { shape, dtype, epilogue, name } = kernel;
  const plain = plainStore(kernel);
  if (plain) return product(plain);
  const fused = dtype === "f32" ? fuseEpilogue(kernel) : undefined;
  if (fused) return product(undefined, fused);
  const c = own.array(dtype, shape);
  product(c);
  const body = epilogue.body.map((step): Instruction =>
    step.op === "result" ? { op: "load", dtype, buffer: c.buffer, view: c.view } : step,
  );
  const stage = { kind: "map", over: "outer", body, stores: epilogue.stores } as const;
  own.loop({ kind: "loop", name, outer: shape, row: [], stages: [stage] });
}

/** The epilogue's only store, if it is of the result itself, contiguously. */
function plainStore({ shape, epilogue }: RoutineKernel): Store | undefined {
  const [store] = epilogue.stores;
  const strides = stridesOf(shape);
  const contiguous = store.view.strides.every((stride, axis) => stride === strides[axis] || shape[axis] === 1);
  const plain = epilogue.stores.length === 1 && epilogue.body[store.value].op === "result";
  return plain && contiguous && !store.view.bounds ? store : undefined;
}

/** A contiguous copy of a strided operand. */
function copy(own: Lowering, x: Operand): Operand {
  const to = own.array(x.dtype, x.shape);
  copyLoop(own, to, [{ op: "load", dtype: x.dtype, buffer: x.buffer, view: x.view }]);
  return to;
}

/** The rows of `[n, k]` that an index names: `[m, k]`, contiguous; zeros for a row out of range. */
function copyRows(own: Lowering, x: Operand, rows: Operand): Operand {
  const [height, width] = x.shape;
  const { row, col } = matrixStrides(x);
  const to = own.array(x.dtype, [rows.shape[0], width]);
  const index = { offset: rows.view.offset, strides: [rows.view.strides[0], 0] };
  const view = { offset: x.view.offset, strides: [0, col] };
  copyLoop(own, to, [
    { op: "load", dtype: "i32", buffer: rows.buffer, view: index },
    { op: "gather", dtype: x.dtype, buffer: x.buffer, view, index: 0, stride: row, extent: height },
  ]);
  return to;
}

function copyLoop(own: Lowering, to: Operand, body: readonly Instruction[]): void {
  const stores = [{ buffer: to.buffer, view: to.view, value: body.length - 1 }];
  own.loop({
    kind: "loop",
    name: "copy",
    outer: to.shape,
    row: [],
    stages: [{ kind: "map", over: "outer", body, stores }],
  });
}
