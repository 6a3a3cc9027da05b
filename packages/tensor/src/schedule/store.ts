import type { ScalarOp } from "../scalar.ts";
import { awaited, Body, NeedsBuffer, sourceView, type Reach } from "./body.ts";
import type { Op } from "./canonical.ts";
import { roles } from "./roles.ts";
import { isContiguous, isMovement } from "./view.ts";

/** Whether an op is computed by a kernel that each backend writes by hand. */
export const isRoutine = ({ node }: Op): boolean => roles[node.op] === "routine";

/** A `pad` with zeros between elements, which no view can say. */
export const isDilation = ({ node }: Op): boolean => node.op === "pad" && node.attrs.interior.some((n) => n > 0);

/** An inlined expression costlier than this, used more than once, is computed once into a buffer. */
const cheap = 6;
/** An inlined expression costlier than this is cut: kernels stay small. */
const large = 64;
/** An inlined expression of more nested views than this is cut: they cost nothing, but writing them out is recursive. */
const deep = 32;

const transcendental = new Set<ScalarOp>([
  "exp",
  "expm1",
  "log",
  "log1p",
  "sin",
  "cos",
  "tan",
  "tanh",
  "sigmoid",
  "softplus",
  "erf",
  "normalCdf",
  "pow",
]);

const ownCost = ({ node }: Op): number => {
  if (node.op === "gather") return 4;
  if (node.op === "pad") return 1;
  return node.op !== "map" ? 0 : transcendental.has(node.attrs.fn) ? 8 : 1;
};

/** How much of an op's cost its readers pay for each of their elements: an expansion along the last axis is computed once for a whole row. */
function shareOf({ node, inputs }: Op): number {
  if (node.op !== "expand") return 1;
  const { shape } = inputs[0].node;
  return shape.at(-1) === 1 && node.shape.length === shape.length ? 1 / Math.max(1, node.shape.at(-1)!) : 1;
}

/** How often an op's value is read, movements not counting as reads of their own. */
function useCounts(ops: readonly Op[]): Int32Array {
  const uses = new Int32Array(ops.length);
  for (let i = ops.length - 1; i >= 0; i--) {
    for (const user of ops[i].users) uses[i] += isMovement(user.node.op) ? uses[user.index] : 1;
  }
  return uses;
}

/**
 * Decides which ops get a buffer: roots, whatever needs a kernel of its own, what such kernels read, and expressions too costly
 * to write out where they are used. Everything else is inlined.
 */
export function chooseStored(ops: readonly Op[], roots: readonly Op[], fuse: boolean): Set<Op> {
  const stored = new Set<Op>(roots.filter((op) => op.leaf === undefined));
  const uses = useCounts(ops);
  /** Per element; all of it, as the code of a kernel is long. */
  const cost = new Float64Array(ops.length);
  const length = new Float64Array(ops.length);
  const views = new Int32Array(ops.length);
  for (const op of ops) {
    if (op.leaf !== undefined) continue;
    if (!fuse || isRoutine(op) || roles[op.node.op] === "loop" || isDilation(op)) stored.add(op);
    cost[op.index] = ownCost(op) + shareOf(op) * op.inputs.reduce((sum, input) => sum + cost[input.index], 0);
    length[op.index] = ownCost(op) + op.inputs.reduce((sum, input) => sum + length[input.index], 0);
    const { op: name } = op.node;
    const tooCostly = length[op.index] > large || (uses[op.index] > 1 && cost[op.index] > cheap);
    if ((name === "map" || name === "gather") && tooCostly) stored.add(op);
    if (name === "pad" && length[op.index] > large) stored.add(op);
    views[op.index] =
      Number(ownCost(op) === 0) + op.inputs.reduce((most, input) => Math.max(most, views[input.index]), 0);
    if (views[op.index] > deep) stored.add(op);
    if (name === "after") storeAwaited(op.inputs[1], stored);
    if (stored.has(op)) [cost[op.index], length[op.index], views[op.index]] = [1, 1, 0];
  }
  for (const op of ops) if (op.leaf === undefined && stored.has(op)) settle(op, stored);
  return stored;
}

/** What `after` waits for must be something that gets computed. */
function storeAwaited(value: Op, stored: Set<Op>): void {
  const op = awaited(value, { isStored: (x) => stored.has(x) });
  if (op.leaf === undefined && op.node.op !== "full" && op.node.op !== "iota") stored.add(op);
}

/** Stores whatever an op's kernel turns out to need, and what that needs in turn. */
function settle(first: Op, stored: Set<Op>): void {
  const pending = [first];
  while (pending.length > 0) {
    const missing = firstNeed(pending[pending.length - 1], stored);
    if (!missing) pending.pop();
    else {
      stored.add(missing);
      pending.push(missing);
    }
  }
}

function firstNeed(op: Op, stored: ReadonlySet<Op>): Op | undefined {
  const reach: Reach = {
    isStored: (x) => stored.has(x),
    access: () => ({ kind: "load", buffer: 0 }),
    await: () => {},
  };
  try {
    if (isRoutine(op)) checkOperands(op, reach);
    else {
      for (const part of definitionParts(op)) {
        if (part === op) new Body().define(op, undefined, reach);
        else new Body().emit(part, undefined, reach);
      }
    }
    return undefined;
  } catch (error) {
    if (error instanceof NeedsBuffer) return error.op;
    throw error;
  }
}

/** The ops whose values a stored op's kernel writes or folds: itself, or its inputs where it only arranges them. */
export const definitionParts = (op: Op): readonly Op[] =>
  op.node.op === "reduce" || op.node.op === "concat" || op.node.op === "reshape" || isDilation(op) ? op.inputs : [op];

/** Which operand of a routine may be chosen rows of another tensor, read without a copy. */
export function foldedRows(op: Op, reach: Pick<Reach, "isStored">): Op | undefined {
  const [lhs] = op.inputs;
  const { node } = lhs;
  if (node.op !== "gather" || reach.isStored(lhs) || (op.node.op !== "groupedMatmul" && op.node.op !== "matmul"))
    return undefined;
  const [x, index] = lhs.inputs;
  const flat =
    node.attrs.axis === 0 && node.attrs.batch === 0 && x.node.shape.length === 2 && index.node.shape.length === 1;
  return flat && op.node.shape.length === (op.node.op === "groupedMatmul" && op.node.attrs.mode === "contract" ? 3 : 2)
    ? lhs
    : undefined;
}

/** @throws {NeedsBuffer} of an operand that the routine cannot read as it is. */
function checkOperands(op: Op, reach: Reach): void {
  const strided = op.node.op === "matmul" || op.node.op === "groupedMatmul";
  const gathered = foldedRows(op, reach);
  const operands = gathered ? [...gathered.inputs, ...op.inputs.slice(1)] : op.inputs;
  operands.forEach((operand, i) => {
    const { view } = sourceView(operand, reach);
    const mayStride = strided && operand.node.dtype !== "i32" && !(gathered && i === 1);
    if (!mayStride && !isContiguous(view)) throw new NeedsBuffer(operand);
  });
}
