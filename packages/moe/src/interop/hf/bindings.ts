import { FormatError, type Shape, type TypedArray } from "@switchyard/tensor";
import { sameShape, sizeOf } from "@switchyard/tensor/graph";
import type { HostTensor, LazyTensors } from "../safetensors.ts";

/**
 * How one tensor here is made of tensors there. Their matrices are `[out, in]`, for `x Wᵀ`; ours are `[in, out]`.
 *
 * - `same`: one tensor as it is.
 * - `columns`: matrices of so many rows each, transposed, side by side.
 * - `stack`: matrices, transposed, one for each expert.
 */
export type Binding =
  | { readonly path: string; readonly as: "same"; readonly name: string; readonly shape: Shape }
  | {
      readonly path: string;
      readonly as: "columns";
      readonly names: readonly string[];
      readonly rows: number;
      readonly columns: readonly number[];
    }
  | {
      readonly path: string;
      readonly as: "stack";
      readonly names: readonly string[];
      readonly rows: number;
      readonly columns: number;
    };

/** The shape of the tensor here. */
export function shapeOf(binding: Binding): Shape {
  if (binding.as === "same") return binding.shape;
  const { rows, columns } = binding;
  if (binding.as === "stack") return [binding.names.length, rows, binding.columns];
  return [rows, (columns as readonly number[]).reduce((sum, n) => sum + n, 0)];
}

/** The tensors there, with their shapes. */
export function sourcesOf(binding: Binding): (readonly [name: string, shape: Shape])[] {
  if (binding.as === "same") return [[binding.name, binding.shape]];
  const { names, rows, columns } = binding;
  return names.map((name, i) => [name, [typeof columns === "number" ? columns : columns[i], rows]] as const);
}

/** @throws {FormatError} naming the first tensor that is missing, has another shape, or is no float. */
export function checkSources(bindings: readonly Binding[], { name: source, entries }: LazyTensors): void {
  for (const [name, shape] of bindings.flatMap(sourcesOf)) {
    const found = entries.get(name);
    if (!found) throw new FormatError(`${source}: has no tensor "${name}", which its config.json asks for`);
    if (!sameShape(found.shape, shape) || found.dtype !== "f32")
      throw new FormatError(
        `${source}: "${name}" is ${found.dtype}[${found.shape}], but its config.json asks for f32[${shape}]`,
      );
  }
}

/** The tensor here, from those there. */
export async function gathered(binding: Binding, from: LazyTensors): Promise<HostTensor> {
  const shape = shapeOf(binding);
  const sources = sourcesOf(binding);
  const data = new Float32Array(sizeOf(shape));
  let first = 0;
  for (const [name, [rows, columns]] of sources) {
    const source = (await from.read(name)).data;
    if (binding.as === "same") data.set(source);
    else if (binding.as === "stack") transpose(source, { rows, columns }, data, { first, step: rows });
    else transpose(source, { rows, columns }, data, { first, step: shape[1] });
    first += binding.as === "stack" ? source.length : rows;
  }
  return { dtype: "f32", shape, data };
}

/** A tensor there, from the elements of the one here: the `i`-th of its sources. */
export function scattered(binding: Binding, data: TypedArray, i: number): TypedArray {
  if (binding.as === "same") return data;
  const sources = sourcesOf(binding);
  const [rows, columns] = sources[i][1];
  const place =
    binding.as === "stack"
      ? { first: i * rows * columns, step: rows }
      : { first: sources.slice(0, i).reduce((sum, [, [n]]) => sum + n, 0), step: shapeOf(binding)[1] };
  const out = new Float32Array(rows * columns);
  untranspose(data, place, out, { rows, columns });
  return out;
}

interface Extents {
  readonly rows: number;
  readonly columns: number;
}

/** Where a transposed matrix lies in a larger one: its first element, and how far apart its rows are. */
interface Place {
  readonly first: number;
  readonly step: number;
}

/** Writes `source[r, c]` to row `c`, column `r` of a place. */
function transpose(source: TypedArray, { rows, columns }: Extents, target: Float32Array, { first, step }: Place): void {
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) target[first + c * step + r] = source[r * columns + c];
}

/** Reads what `transpose` wrote. */
function untranspose(
  source: TypedArray,
  { first, step }: Place,
  target: Float32Array,
  { rows, columns }: Extents,
): void {
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) target[r * columns + c] = source[first + c * step + r];
}
