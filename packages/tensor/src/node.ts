import { DeviceError } from "./errors.ts";
import { primitives, type Attrs, type PrimitiveName } from "./primitives/index.ts";
import { describe } from "./shape.ts";
import { currentProvenance, type Provenance } from "./provenance.ts";
import { supports, type DeviceName, type DType, type Shape } from "./types.ts";

/**
 * One operation of the lazy graph. Immutable: realizing a tensor points its handle at a new `buffer` leaf and leaves the
 * node as it was, so a graph made earlier keeps its meaning.
 */
export interface Node<P extends PrimitiveName = PrimitiveName> {
  /** Ascending in order of creation, so inputs have smaller ids than their consumers. */
  readonly id: number;
  readonly op: P;
  readonly inputs: readonly AnyNode[];
  readonly attrs: Attrs[P];
  readonly shape: Shape;
  readonly dtype: DType;
  readonly device: DeviceName;
  readonly provenance: Provenance;
}

/** The union over primitives, so that testing `node.op` narrows `node.attrs`. */
export type AnyNode = { [P in PrimitiveName]: Node<P> }[PrimitiveName];

let nextId = 1;

/**
 * Appends a node, checking shapes and dtypes at once.
 *
 * @param device needed for leaves only; other nodes live where their inputs do.
 * @throws {ShapeError | DTypeError} from the primitive's own rule.
 * @throws {DeviceError} if the inputs live on different devices, or the device lacks the dtype.
 */
export function makeNode<P extends PrimitiveName>(
  op: P,
  inputs: readonly AnyNode[],
  attrs: Attrs[P],
  device?: DeviceName,
): AnyNode {
  const home = device ?? inputs[0].device;
  if (device === undefined)
    for (const input of inputs) if (input.device !== home) throw mixedDevices(opName({ op, attrs } as AnyNode), inputs);
  const { shape, dtype } = primitives[op].infer(inputs, attrs as never);
  if (!supports(home, dtype)) {
    throw new DeviceError(
      `${writtenAs({ op, attrs } as AnyNode)}: ${home} has no ${dtype} (got ${describe({ shape, dtype })}); cast to f32 or use another device`,
    );
  }
  const node: Node<P> = {
    id: nextId++,
    op,
    inputs,
    attrs,
    shape,
    dtype,
    device: home,
    provenance: currentProvenance(),
  };
  return node as unknown as AnyNode;
}

/** The name of what a user wrote: what has elements of its own was made by something, such as `tensor`. */
const writtenAs = (node: AnyNode): string => (node.op === "buffer" ? node.attrs.storage.owner.op : opName(node));

/** The name a user knows an operation by. */
export function opName(node: AnyNode): string {
  switch (node.op) {
    case "map":
      return node.attrs.fn;
    case "reduce":
      return node.attrs.op;
    case "custom":
      return "customVjp";
    case "detach":
      return "stopGradient";
    default:
      return node.op;
  }
}

function mixedDevices(op: string, inputs: readonly AnyNode[]): DeviceError {
  const got = inputs.map((n) => `${describe(n)} on ${n.device}`).join(", ");
  return new DeviceError(`${op}: inputs live on different devices (got ${got}); move one with .to(device)`);
}

/**
 * Every node that `roots` need, inputs before consumers. Iterative: depth is not limited by the stack.
 *
 * @param inputsOf which inputs to follow; all of them unless a caller stops early.
 */
export function topologicalOrder(
  roots: Iterable<AnyNode>,
  inputsOf: (node: AnyNode) => readonly AnyNode[] = (node) => node.inputs,
): AnyNode[] {
  const order: AnyNode[] = [];
  const seen = new Set<AnyNode>();
  const stack: { node: AnyNode; inputs: readonly AnyNode[]; next: number }[] = [];
  const enter = (node: AnyNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    stack.push({ node, inputs: inputsOf(node), next: 0 });
  };
  for (const root of roots) {
    enter(root);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.inputs.length) enter(top.inputs[top.next++]);
      else {
        order.push(top.node);
        stack.pop();
      }
    }
  }
  return order;
}
