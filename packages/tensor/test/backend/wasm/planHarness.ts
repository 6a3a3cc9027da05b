import { createParts } from "../../../src/backend/wasm/backend.ts";
import { detectFeatures } from "../../../src/backend/wasm/features.ts";
import { createPlanRunner, type PlanRunnerOptions } from "../../../src/backend/wasm/planRunner.ts";
import { primitives, type Attrs } from "../../../src/primitives/index.ts";
import type { HostArray, Primitive, Spec } from "../../../src/primitives/primitive.ts";
import type { Operand, Plan, RoutineKernel, RoutineOp } from "../../../src/schedule/plan.ts";
import { sizeOf, stridesOf } from "../../../src/shape.ts";
import { deviceBytes, hostArray, hostArrayFrom, type DType, type Shape, type TypedArray } from "../../../src/types.ts";

/** Runs plans on a wasm runtime of its own. */
export function startRunner(workers: number) {
  const parts: PlanRunnerOptions = createParts(detectFeatures(), workers);
  const runner = createPlanRunner(parts);
  const { heap, executor } = parts;

  async function run(
    plan: Plan,
    leaves: readonly TypedArray[],
    numbers: readonly number[] = [],
  ): Promise<TypedArray[]> {
    const dtypes = leafDTypes(plan);
    const blocks = leaves.map((data, i) => {
      const block = heap.allocate(data.length * deviceBytes(dtypes[i]), "host");
      heap.write(block, data, dtypes[i]);
      return block;
    });
    const { roots, done } = runner.run({ plan, leaves: blocks, numbers });
    await done;
    const outputs: TypedArray[] = [];
    for (const { source, dtype, size } of plan.buffers)
      if (source.kind === "root") outputs[source.index] = heap.read(roots[source.index], dtype, size);
    for (const block of new Set([...blocks, ...roots])) executor.free(block);
    return outputs;
  }

  return { ...parts, runner, run, stop: () => executor.shutdown() };
}

function leafDTypes(plan: Plan): DType[] {
  const dtypes: DType[] = [];
  for (const { source, dtype } of plan.buffers) if (source.kind === "leaf") dtypes[source.index] = dtype;
  return dtypes;
}

/** A contiguous array under its own shape. */
export const contiguous = (buffer: number, { shape, dtype }: Spec): Operand => ({
  buffer,
  dtype,
  shape,
  view: { offset: 0, strides: stridesOf(shape) },
});

/** A plan of one routine, leaves in, one root out. */
export function routinePlan<P extends RoutineOp>(op: P, attrs: Attrs[P], inputs: readonly Spec[]): Plan {
  const out = (primitives[op] as unknown as Primitive<Attrs[P]>).infer(inputs, attrs);
  const root = inputs.length;
  const kernel = {
    kind: "routine",
    name: op,
    op,
    attrs,
    operands: inputs.map((input, i) => contiguous(i, input)),
    shape: out.shape,
    dtype: out.dtype,
    epilogue: {
      body: [{ op: "result", dtype: out.dtype }],
      stores: [{ buffer: root, view: contiguous(root, out).view, value: 0 }],
    },
  } as unknown as RoutineKernel;
  return {
    buffers: [
      ...inputs.map(({ shape, dtype }, index) => ({
        dtype,
        size: sizeOf(shape),
        source: { kind: "leaf", index } as const,
      })),
      { dtype: out.dtype, size: sizeOf(out.shape), source: { kind: "root", index: 0 } },
    ],
    kernels: [kernel],
    numbers: [],
  };
}

export function host(dtype: DType, shape: Shape, values: ArrayLike<number>): HostArray {
  return { dtype, shape, data: hostArrayFrom(dtype, values) };
}

/** What the primitive's own loop gives. */
export function definitionOf<P extends RoutineOp>(op: P, attrs: Attrs[P], inputs: readonly HostArray[]): HostArray {
  const primitive = primitives[op] as unknown as Primitive<Attrs[P]>;
  const { shape, dtype } = primitive.infer(inputs, attrs);
  const out: HostArray = { shape, dtype, data: hostArray(dtype, sizeOf(shape)) };
  primitive.reference(out, inputs, attrs);
  return out;
}
