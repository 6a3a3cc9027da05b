/** Turns on V8's 256-bit WebAssembly, an experiment of its own, after looking whether its numbers are right. */
import { ConfigError, DeviceError } from "../../errors.ts";
import type { Instruction, Kernel, Operand, Plan, RoutineKernel, Stage } from "../../schedule/plan.ts";
import { sizeOf, stridesOf } from "../../shape.ts";
import type { Shape } from "../../types.ts";
import { detectFeatures, type Features } from "./features.ts";
import { createPlanRunner, type PlanRunnerOptions } from "./planRunner.ts";

/** Runs kernels on the calling thread, in a memory of their own. */
export type Workbench = (features: Features) => PlanRunnerOptions;

/**
 * V8 fuses adjacent 128-bit operations into 256-bit ones under this flag. It is the process's: what compiles later, and what is optimized
 * later, has it too.
 *
 * @throws {ConfigError} in a page.
 * @throws {DeviceError} if this Node was built without it, or if products and a softmax do not have the bits they have without it. The
 * flag is off again then.
 */
export async function revectorize(workbench: Workbench): Promise<void> {
  if (typeof process === "undefined" || !process.versions?.node)
    throw new ConfigError("init: revectorize is an option of Node; a page cannot set it");
  const built: Readonly<Record<string, unknown>> = process.config.variables;
  // V8 would only print that it knows no such flag.
  if (!built.v8_enable_wasm_simd256_revec)
    throw new DeviceError(`wasm: Node ${process.version} was built without revectorization; init without revectorize`);
  const { setFlagsFromString } = process.getBuiltinModule("node:v8");
  const features = detectFeatures();
  // Equal bytes would be compiled once: only the second memory is shared.
  const plain = await sample(workbench({ ...features, threads: false }));
  setFlagsFromString("--experimental-wasm-revectorize");
  // Only the optimizing compiler fuses, and a sample is too short for it to step in by itself.
  const steps = ["liftoff", "wasm-lazy-compilation"].filter((flag) => !wasGiven(`--no-${flag}`));
  for (const flag of steps) setFlagsFromString(`--no-${flag}`);
  try {
    const fused = await sample(workbench({ ...features, wide: true }));
    const wrong = names.filter((_, i) => !sameBits(plain[i], fused[i]));
    if (wrong.length === 0) return;
    setFlagsFromString("--no-experimental-wasm-revectorize");
    throw new DeviceError(
      `init: with revectorize, this engine computes ${wrong.join(", ")} differently than without; drop the option`,
    );
  } finally {
    for (const flag of steps) setFlagsFromString(`--${flag}`);
  }
}

/** Whether the process was started with a flag: then it stays. */
const wasGiven = (flag: string): boolean =>
  [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(" ")].includes(flag);

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [x, y] = [a, b].map((array) => new Uint32Array(array.buffer, array.byteOffset, array.length));
  return x.every((bits, i) => bits === y[i]);
}

/** Every result of the sample plan. */
async function sample({ heap, modules, executor, features }: PlanRunnerOptions): Promise<Float32Array[]> {
  const runner = createPlanRunner({ heap, modules, executor, features });
  const leaves = leafShapes.map((shape, i) => {
    const block = heap.allocate(4 * sizeOf(shape), "host");
    // Of all exponents that sums of products and exponentials meet.
    const data = Float32Array.from({ length: sizeOf(shape) }, (_, j) => Math.sin(1 + i + j) * 2 ** (j % 5));
    heap.write(block, data, "f32");
    return block;
  });
  const offsets = heap.allocate(4 * groupEnds.length, "host");
  heap.write(offsets, Int32Array.from(groupEnds), "i32");
  const { roots, done } = runner.run({ plan: samplePlan(), leaves: [...leaves, offsets], numbers: [] });
  await done;
  const read = roots.map((root, i) => heap.read(root, "f32", sizeOf(rootShapes[i])) as Float32Array);
  await executor.shutdown();
  return read;
}

// ---- the sample ----

const [m, k, n] = [50, 300, 150];
const groupEnds = [0, 7, 7, 31, 45];
const groups = groupEnds.length - 1;
const leafShapes: readonly Shape[] = [
  [m, k],
  [k, n],
  [groups, k, n],
  [m, n],
];
const names = ["a product", "a product by groups", "its weights' gradient", "a softmax"];
const rootShapes: readonly Shape[] = [
  [m, n],
  [m, n],
  [groups, k, n],
  [m, k],
];
const [lhs, rhs, weights, cotangent, offsets] = [0, 1, 2, 3, 4];

function samplePlan(): Plan {
  const kernels = [
    product("matmul", {}, [lhs, rhs], 0),
    product("groupedMatmul", { mode: "rows" }, [lhs, weights, offsets], 1),
    product("groupedMatmul", { mode: "contract" }, [lhs, cotangent, offsets], 2),
    softmax(3),
  ];
  const leaves = [...leafShapes.map(sizeOf), groupEnds.length];
  return {
    buffers: [
      ...leaves.map((size, index) => ({
        dtype: index === offsets ? ("i32" as const) : ("f32" as const),
        size,
        source: { kind: "leaf" as const, index },
      })),
      ...rootShapes.map((shape, index) => ({
        dtype: "f32" as const,
        size: sizeOf(shape),
        source: { kind: "root" as const, index },
      })),
    ],
    kernels,
    numbers: [],
  };
}

const rootBuffer = (index: number): number => leafShapes.length + 1 + index;
const contiguous = (shape: Shape) => ({ offset: 0, strides: stridesOf(shape) });

/** A product whose result goes through a sigmoid. */
function product<P extends "matmul" | "groupedMatmul">(
  op: P,
  attrs: Extract<RoutineKernel, { op: P }>["attrs"],
  inputs: readonly number[],
  root: number,
): Kernel {
  const operands = inputs.map((buffer): Operand => {
    const shape = buffer === offsets ? [groupEnds.length] : leafShapes[buffer];
    return { buffer, dtype: buffer === offsets ? "i32" : "f32", shape, view: contiguous(shape) };
  });
  const shape = rootShapes[root];
  const body: Instruction[] = [
    { op: "result", dtype: "f32" },
    { op: "map", fn: "sigmoid", args: [0], dtype: "f32" },
  ];
  const stores = [{ buffer: rootBuffer(root), view: contiguous(shape), value: 1 }];
  const epilogue = { body, stores };
  return { kind: "routine", name: op, op, attrs, operands, shape, dtype: "f32", epilogue } as unknown as RoutineKernel;
}

/** Over the rows of `lhs`. */
function softmax(root: number): Kernel {
  const load: Instruction = { op: "load", buffer: lhs, view: contiguous([m, k]), dtype: "f32" };
  const shifted: Instruction[] = [
    load,
    { op: "reduced", stage: 0, dtype: "f32" },
    { op: "map", fn: "sub", args: [0, 1], dtype: "f32" },
    { op: "map", fn: "exp", args: [2], dtype: "f32" },
  ];
  const divided: Instruction[] = [
    ...shifted,
    { op: "reduced", stage: 1, dtype: "f32" },
    { op: "map", fn: "div", args: [3, 4], dtype: "f32" },
  ];
  const stages: Stage[] = [
    { kind: "reduce", op: "max", dtype: "f32", body: [load], value: 0 },
    { kind: "reduce", op: "sum", dtype: "f32", body: shifted, value: 3 },
    {
      kind: "map",
      over: "row",
      body: divided,
      stores: [{ buffer: rootBuffer(root), view: contiguous([m, k]), value: 5 }],
    },
  ];
  return { kind: "loop", name: "softmax", outer: [m], row: [k], stages };
}
