import { ConfigError, tensor, type Tensor } from "@switchyard/tensor";
import { checkOptions, positiveInteger, requireOptions, wholeNumber } from "@switchyard/tensor/graph";
import { shuffledSteps } from "./shuffled.ts";

/** Rows of numbers, each with a class: a table, or images. */
export interface LabeledRows {
  /** `[N, …]`. */
  readonly x: Tensor;
  /** `i32[N]`. */
  readonly label: Tensor;
}

export interface TableBatchOptions {
  /** Rows in a batch. */
  readonly batch: number;
  /** Decides the order in which rows come; each epoch has its own. */
  readonly seed: number;
}

/**
 * Batches of a table: a pure function of the step. The table lies on the device, and a batch is a gather from it; every row comes once an
 * epoch, in an order that the seed decides.
 *
 * @throws {ConfigError} on a bad option, or if there are not as many labels as rows.
 */
export function tableBatches({ x, label }: LabeledRows, options: TableBatchOptions): (step: number) => LabeledRows {
  checkOptions("tableBatches", options, { batch: positiveInteger, seed: wholeNumber });
  requireOptions("tableBatches", options, "batch", "seed");
  const count = rowsOf(x, label);
  const rowsAt = shuffledSteps(count, options.batch, options.seed);
  return (step) => {
    const rows = tensor(rowsAt(step), { dtype: "i32", device: x.device });
    return { x: x.gather(rows, 0), label: label.gather(rows, 0) };
  };
}

/**
 * A table in two parts, to train on and to judge by: which row goes where is decided by the seed.
 *
 * @param heldOut the share of the rows to judge by.
 */
export function splitTable(
  { x, label }: LabeledRows,
  { heldOut, seed }: { readonly heldOut: number; readonly seed: number },
): { readonly train: LabeledRows; readonly heldOut: LabeledRows } {
  const count = rowsOf(x, label);
  const rows = shuffledSteps(count, count, seed)(0);
  const border = Math.round(count * (1 - heldOut));
  if (border < 1 || border >= count)
    throw new ConfigError(`splitTable: heldOut = ${heldOut} of ${count} rows leaves a part without any`);
  const part = (of: readonly number[]): LabeledRows => {
    const index = tensor(of, { dtype: "i32", device: x.device });
    return { x: x.gather(index, 0), label: label.gather(index, 0) };
  };
  return { train: part(rows.slice(0, border)), heldOut: part(rows.slice(border)) };
}

function rowsOf(x: Tensor, label: Tensor): number {
  if (x.ndim > 0 && label.ndim === 1 && label.dtype === "i32" && x.shape[0] === label.shape[0] && label.size > 0)
    return label.size;
  throw new ConfigError(
    `a table is x [rows, …] and label i32[rows], of at least one row; got ${x.dtype}[${x.shape}] and ${label.dtype}[${label.shape}]`,
  );
}
