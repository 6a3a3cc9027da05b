import { roundToHalf } from "../../src/half.ts";
import { identityOf, combine } from "../../src/primitives/reduce.ts";
import { primitives } from "../../src/primitives/index.ts";
import type { HostArray, Primitive } from "../../src/primitives/primitive.ts";
import { definitionOf } from "../../src/scalar.ts";
import { sizeOf } from "../../src/shape.ts";
import type { Instruction, LoopKernel, Operand, Plan, RoutineKernel, Store, View } from "../../src/schedule/plan.ts";
import { hostArray, type DType, type Shape, type TypedArray } from "../../src/types.ts";

/**
 * Runs a plan by the letter of its format, one point and one instruction at a time: the oracle of the scheduler and of every
 * code generator. Values are f64, rounded once per instruction to its dtype; routines run the primitives' own loops.
 *
 * @param leaves the elements of the leaves, by position; they are not written to.
 * @param numbers the run-time numbers, by slot.
 * @returns one array per root.
 */
export function interpret(plan: Plan, leaves: readonly TypedArray[], numbers: readonly number[]): TypedArray[] {
  const buffers = allocate(plan, leaves);
  const slots = numbers.map((x, slot) => rounded(plan.numbers[slot], x));
  for (const kernel of plan.kernels) {
    if (kernel.kind === "loop") runLoop(kernel, buffers, slots);
    else runRoutine(kernel, buffers, slots);
  }
  const roots: TypedArray[] = [];
  plan.buffers.forEach(({ source }, i) => {
    if (source.kind === "root") roots[source.index] = buffers[i].slice();
  });
  return roots;
}

/** A root that reuses a donated leaf is that leaf's array, so that a wrong reuse shows. Temporaries start as garbage. */
function allocate(plan: Plan, leaves: readonly TypedArray[]): TypedArray[] {
  const buffers = plan.buffers.map(({ dtype, size, source }) =>
    source.kind === "leaf" ? leaves[source.index].slice() : hostArray(dtype, size).fill(99),
  );
  plan.buffers.forEach(({ source }, i) => {
    if (source.kind === "root" && source.reuses !== undefined) buffers[i] = buffers[source.reuses];
  });
  return buffers;
}

const cells = {
  f32: new Float32Array(1),
  f64: new Float64Array(1),
  i32: new Int32Array(1),
  u32: new Uint32Array(1),
} satisfies { [D in Exclude<DType, "bool" | "f16">]: TypedArray };

/** The number as an array of the dtype would hold it; whatever is not zero is a true bool. */
function rounded(dtype: DType, x: number): number {
  if (dtype === "bool") return x === 0 ? 0 : 1;
  if (dtype === "f16") return roundToHalf(x);
  cells[dtype][0] = x;
  return cells[dtype][0];
}

const isWithin = (point: Shape, bounds: View["bounds"]): boolean =>
  bounds === undefined || bounds.every(([from, to], axis) => point[axis] >= from && point[axis] < to);

const locate = (point: Shape, { offset, strides }: View): number =>
  strides.reduce((at, stride, axis) => at + stride * point[axis], offset);

/** The element at a position that must exist: a plan that reads elsewhere is wrong. */
function read(buffer: TypedArray, at: number): number {
  if (!(at >= 0 && at < buffer.length)) throw new Error(`read at ${at} of ${buffer.length} elements`);
  return buffer[at];
}

interface Context {
  readonly buffers: readonly TypedArray[];
  readonly numbers: readonly number[];
  /** By stage. */
  readonly reduced: readonly number[];
  readonly result: number;
}

/** The values of a body's instructions at a point. */
function evaluate(body: readonly Instruction[], point: Shape, context: Context): number[] {
  const values: number[] = [];
  for (const step of body) values.push(rounded(step.dtype, compute(step, body, values, point, context)));
  return values;
}

function compute(
  step: Instruction,
  body: readonly Instruction[],
  values: readonly number[],
  point: Shape,
  context: Context,
): number {
  switch (step.op) {
    case "load":
      return isWithin(point, step.view.bounds) ? read(context.buffers[step.buffer], locate(point, step.view)) : 0;
    case "gather": {
      const index = values[step.index];
      if (!(index >= 0 && index < step.extent) || !isWithin(point, step.view.bounds)) return 0;
      return read(context.buffers[step.buffer], locate(point, step.view) + index * step.stride);
    }
    case "number":
      return context.numbers[step.slot];
    case "constant":
      return step.value;
    case "coordinate":
      return isWithin(point, step.view.bounds) ? locate(point, step.view) : 0;
    case "inside":
      return Number(isWithin(point, step.bounds));
    case "map": {
      const dtype = body[step.args[step.fn === "where" ? 1 : 0]].dtype;
      const [a, b, c] = step.args.map((arg) => values[arg]);
      return definitionOf(step.fn, dtype, step.dtype)(a, b, c);
    }
    case "reduced":
      return context.reduced[step.stage];
    case "result":
      return context.result;
  }
}

function store(
  stores: readonly Store[],
  values: readonly number[],
  point: Shape,
  buffers: readonly TypedArray[],
): void {
  for (const { buffer, view, value } of stores) {
    const at = locate(point, view);
    if (!isWithin(point, view.bounds)) continue;
    if (!(at >= 0 && at < buffers[buffer].length)) throw new Error(`store at ${at} of ${buffers[buffer].length}`);
    buffers[buffer][at] = values[value];
  }
}

/** Calls `visit` with every point of a space, in row-major order. */
function eachPoint(shape: Shape, visit: (point: number[]) => void): void {
  const size = sizeOf(shape);
  for (let i = 0; i < size; i++) {
    let rest = i;
    const point = new Array<number>(shape.length);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      point[axis] = rest % shape[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    visit(point);
  }
}

function runLoop(kernel: LoopKernel, buffers: readonly TypedArray[], numbers: readonly number[]): void {
  eachPoint(kernel.outer, (outer) => {
    const reduced: number[] = [];
    const context: Context = { buffers, numbers, reduced, result: NaN };
    kernel.stages.forEach((stage, index) => {
      if (stage.kind === "reduce") reduced[index] = fold(kernel, stage, outer, context);
      else if (stage.over === "outer") store(stage.stores, evaluate(stage.body, outer, context), outer, buffers);
      else {
        eachPoint(kernel.row, (row) => {
          const point = [...outer, ...row];
          store(stage.stores, evaluate(stage.body, point, context), point, buffers);
        });
      }
    });
  });
}

type Reduce = Extract<LoopKernel["stages"][number], { kind: "reduce" }>;

/** Floats accumulate in f64 and round once. */
function fold(kernel: LoopKernel, stage: Reduce, outer: Shape, context: Context): number {
  const step = combine(stage.op, stage.dtype);
  let total = identityOf(stage.op, stage.dtype);
  eachPoint(kernel.row, (row) => {
    total = step(total, evaluate(stage.body, [...outer, ...row], context)[stage.value]);
  });
  return rounded(stage.dtype, total);
}

/** An operand copied out contiguously. */
function gatherOperand({ buffer, dtype, shape, view }: Operand, buffers: readonly TypedArray[]): HostArray {
  const data = hostArray(dtype, sizeOf(shape));
  let at = 0;
  eachPoint(shape, (point) => {
    data[at++] = isWithin(point, view.bounds) ? read(buffers[buffer], locate(point, view)) : 0;
  });
  return { shape, dtype, data };
}

/** The rows of a matrix that an index names; a row out of range is zeros. */
function selectRows(matrix: HostArray, index: HostArray): HostArray {
  const [height, width] = matrix.shape;
  const shape = [index.data.length, width];
  const data = hostArray(matrix.dtype, sizeOf(shape));
  index.data.forEach((row, i) => {
    if (row >= 0 && row < height) data.set(matrix.data.subarray(row * width, (row + 1) * width), i * width);
  });
  return { shape, dtype: matrix.dtype, data };
}

function runRoutine(kernel: RoutineKernel, buffers: readonly TypedArray[], numbers: readonly number[]): void {
  const inputs = kernel.operands.map((operand) => gatherOperand(operand, buffers));
  if (kernel.rows) inputs[0] = selectRows(inputs[0], gatherOperand(kernel.rows, buffers));
  const out: HostArray = {
    shape: kernel.shape,
    dtype: kernel.dtype,
    data: hostArray(kernel.dtype, sizeOf(kernel.shape)),
  };
  (primitives[kernel.op] as Primitive<never>).reference(out, inputs, kernel.attrs as never);
  let at = 0;
  eachPoint(kernel.shape, (point) => {
    const context: Context = { buffers, numbers, reduced: [], result: out.data[at++] };
    store(kernel.epilogue.stores, evaluate(kernel.epilogue.body, point, context), point, buffers);
  });
}
