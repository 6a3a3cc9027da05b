import { stack, where, type Shape, type Tensor } from "@switchyard/tensor";
import { fromNode, isFloat, opName, repeating, topologicalOrder, type AnyNode } from "@switchyard/tensor/graph";

/** The operation whose result is the first that is not finite. */
export interface NonFinite {
  readonly what: "NaN" | "infinity";
  /** Whether it was computed for the loss or for its gradient. */
  readonly pass: "forward" | "backward";
  readonly op: string;
  /** In the backward pass: the forward operation whose gradient rule wrote it. */
  readonly rule?: string;
  readonly scope: string;
  /** In debug, the user's line; in the backward pass that of the forward operation. */
  readonly line?: string;
  readonly shape: Shape;
  /** The position of the first such element, row-major. */
  readonly index: number;
  toString(): string;
}

const finite = 0;
const infinite = 1;
const nan = 2;

/**
 * Computes all that the roots need again, with a flag for each float node, in one plan and one read.
 *
 * @returns the oldest node that is NaN though no input is, or infinite though all inputs are finite. Constants may be infinite.
 */
export async function firstNonFinite(roots: readonly AnyNode[]): Promise<NonFinite | null> {
  const order = topologicalOrder(roots)
    .filter((node) => isFloat(node.dtype) && node.shape.every((extent) => extent > 0))
    .toSorted((a, b) => a.id - b.id);
  if (order.length === 0) return null;
  const flags = await repeating(() => stack(order.map((node) => flagOf(fromNode(node)))).data());
  const flagAt = new Map(order.map((node, i) => [node, flags[i]]));
  const born = order.find((node) => {
    const worst = Math.max(finite, ...node.inputs.map((x) => flagAt.get(x) ?? finite));
    const flag = flagAt.get(node)!;
    return node.op !== "full" && flag > worst;
  });
  return born ? await describeBirth(born, flagAt.get(born)!) : null;
}

/** 0, 1 for some infinity, 2 for some NaN: i32[]. */
const flagOf = (x: Tensor): Tensor =>
  where(x.isNaN(), nan, where(x.isFinite(), finite, infinite))
    .cast("i32")
    .max();

async function describeBirth(node: AnyNode, flag: number): Promise<NonFinite> {
  const flat = fromNode(node).reshape([-1]);
  const bad = flag === nan ? flat.isNaN() : flat.isFinite().not();
  const index = await repeating(() => bad.cast("i32").argMax().item());
  const { rule, scope, line } = node.provenance;
  const at = rule?.line ?? line;
  const found = {
    what: flag === nan ? ("NaN" as const) : ("infinity" as const),
    pass: rule ? ("backward" as const) : ("forward" as const),
    op: opName(node),
    ...(rule && { rule: rule.op }),
    scope: rule?.scope ?? scope,
    ...(at !== undefined && { line: at }),
    shape: node.shape,
    index,
  };
  const where = at ?? (found.scope === "" ? undefined : found.scope);
  const whose = rule ? `the gradient of ${rule.op} (${found.op})` : found.op;
  const text = `${found.what} was born in ${whose}${where === undefined ? "" : `, ${where}`}, at element ${index} of [${node.shape}]`;
  return { ...found, toString: () => text };
}
