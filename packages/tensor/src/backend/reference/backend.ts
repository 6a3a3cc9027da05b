import { DeviceError } from "../../errors.ts";
import { opName, topologicalOrder, type AnyNode } from "../../node.ts";
import { roundToHalf } from "../../half.ts";
import { primitives } from "../../primitives/index.ts";
import type { HostArray, Primitive } from "../../primitives/primitive.ts";
import { leafStorage, nodeInputs } from "../../runtime/leaves.ts";
import { largestOwners } from "../../runtime/memory.ts";
import { describe, sizeOf } from "../../shape.ts";
import { hostArray, hostArrayFrom, type TypedArray } from "../../types.ts";
import type { Allocation, Backend, KernelRun, RunRequest } from "../backend.ts";

interface HostAllocation extends Allocation {
  readonly data: TypedArray;
}

/** The oracle: runs each primitive's own loop, one node at a time, in graph order. Knows no plan and no fusion. */
export function referenceBackend(): Backend {
  let listener: ((run: KernelRun) => void) | undefined;
  return {
    dtypes: ["f16", "f32", "f64", "i32", "u32", "bool"],
    details: { threads: 1 },
    upload: (data, dtype) => allocate(hostArrayFrom(dtype, data)),
    run: (request) => ({ allocations: evaluate(request, listener).map(allocate), done: Promise.resolve() }),
    read: async (allocation) => (allocation as HostAllocation).data.slice(),
    free: () => {},
    onKernel: (to) => void (listener = to),
    poolBytes: () => 0,
    shutdown: async () => {},
  };
}

const allocate = (data: TypedArray): HostAllocation => ({ bytes: data.byteLength, data });

function evaluate({ roots }: RunRequest, listener: ((run: KernelRun) => void) | undefined): TypedArray[] {
  const order = topologicalOrder(roots, nodeInputs);
  const consumers = new Map<AnyNode, number>();
  for (const node of [...order.flatMap(nodeInputs), ...roots]) consumers.set(node, (consumers.get(node) ?? 0) + 1);
  const values = new Map<AnyNode, HostArray>();
  for (const node of order) {
    const inputs = nodeInputs(node);
    const began = performance.now();
    values.set(
      node,
      evaluateNode(
        node,
        inputs.map((input) => values.get(input)!),
      ),
    );
    listener?.({ name: opName(node), ms: performance.now() - began, bytes: 0, flops: 0 });
    for (const input of inputs) {
      const left = consumers.get(input)! - 1;
      consumers.set(input, left);
      if (left === 0) values.delete(input);
    }
  }
  return roots.map((root) => values.get(root)!.data.slice());
}

function evaluateNode(node: AnyNode, inputs: readonly HostArray[]): HostArray {
  const storage = leafStorage(node);
  if (storage) {
    return { shape: node.shape, dtype: node.dtype, data: (storage.allocation as HostAllocation).data };
  }
  const out: HostArray = { shape: node.shape, dtype: node.dtype, data: roomFor(node) };
  (primitives[node.op] as Primitive<never>).reference(out, inputs, node.attrs as never);
  if (node.dtype === "f16") out.data.forEach((x, i) => (out.data[i] = roundToHalf(x)));
  return out;
}

function roomFor({ dtype, shape }: AnyNode): TypedArray {
  try {
    return hostArray(dtype, sizeOf(shape));
  } catch (cause) {
    throw new DeviceError(
      `cpu: out of memory: ${describe({ dtype, shape })} does not fit. Largest owners: ${largestOwners("cpu") || "none"}`,
      { cause },
    );
  }
}
