import { where, type Tensor } from "@switchyard/tensor";
import {
  apply,
  iotaLike,
  opName,
  sameShape,
  topologicalOrder,
  type AnyNode,
  type Attrs,
  type Node,
  type ScalarOp,
} from "@switchyard/tensor/graph";
import type { RuleStep } from "../backward.ts";
import type { ZeroReason } from "./zero.ts";

/** Elements of an input that an operation gives nothing to, whatever arrives at its output. */
export interface Kill {
  readonly reason: ZeroReason;
  readonly detail: string;
  /** bool, like the input. */
  readonly elements: Tensor;
}

/** Numbers in [1, 2) without pattern, like x: what a rule makes of them is zero only where it is zero of anything. */
function probeLike(x: Tensor): Tensor {
  // A linear congruential step wraps around, and scatters what was in order. In f32, as f16 has no number as large as those.
  // Salted: the first elements of all probes would else be alike, and what two nodes give could cancel.
  const salt = Math.imul(x.node.id, 0x9e3779b1);
  const scattered = iotaLike(x, [x.size], 0, "i32").mul(1103515245).add(salt).cast("f32");
  return scattered
    .mul(2 ** -32)
    .add(1.5)
    .cast(x.dtype)
    .reshape(x.shape);
}

/** Scalar ops whose derivative can be exactly zero, and why. */
const flat: { readonly [F in ScalarOp]?: string } = {
  relu: "relu is flat where its input is not above 0",
  abs: "abs has gradient 0 at 0",
  exp: "exp is 0 at minus infinity",
  expm1: "expm1 is flat: its input is far below 0",
  sin: "sin is flat at its extremes",
  cos: "cos is flat at its extremes, such as 0",
  mod: "mod is flat in its divisor where the quotient rounds down to 0",
  sigmoid: "sigmoid is flat: it rounds to 0 or 1",
  softplus: "softplus is flat: its input is far below 0",
  tanh: "tanh is flat: it rounds to -1 or 1",
  erf: "erf is flat: its input is far from 0",
  normalCdf: "normalCdf is flat: its input is far from 0",
  sign: "sign is a step",
  floor: "floor is a step",
  ceil: "ceil is a step",
  round: "round is a step",
  minimum: "minimum took the other operand",
  maximum: "maximum took the other operand",
  pow: "the power is flat at 0, and in its exponent at 1",
};

/** What a running sum or maximum gives nothing to. */
const scans = {
  sum: { reason: "unselected", detail: "an exclusive running sum leaves out the last element" },
  max: { reason: "unselected", detail: "lost to others in a running maximum" },
} satisfies { [O in Exclude<Attrs["scan"]["op"], "prod">]: Omit<Kill, "elements"> };

/** What a node's rule kills on the way to its input `i`, which `mayKill` says it can. */
export function killsOf(step: RuleStep<unknown>, i: number): Kill[] {
  const { node, rule, inputs, output } = step;
  const given = rule(probeLike(output))[i];
  const elements = given ? given.eq(0) : inputs[i].eq(inputs[i]).or(inputs[i].isNaN());
  switch (node.op) {
    case "map":
      return scalarKills({ node, inputs }, i, elements);
    case "detach":
      return [{ reason: "stopped", detail: "stopGradient", elements }];
    case "matmul":
      return [{ reason: "zero input", detail: "all that it is multiplied with is 0", elements }];
    case "groupedMatmul":
      return groupKills(node, inputs, i, elements);
    case "custom":
      return given ? gatherKills(valueOf(node), inputs[i], elements) : [stoppedByRule(elements)];
    case "gather":
      return gatherKills(node, inputs[i], elements);
    case "reduce":
      return extremeKills(node, inputs[i], output, elements);
    case "scan":
      return node.attrs.op === "prod"
        ? productKills(inputs[i], [inputs[i].ndim - 1], elements)
        : [{ ...scans[node.attrs.op], elements }];
    default:
      return [{ reason: "unselected", detail: `${opName(node)} leaves it out`, elements }];
  }
}

/** Whether an operation can give exactly nothing to an element of its input. */
export function mayKill(node: AnyNode, i: number): boolean {
  switch (node.op) {
    case "map": {
      const { fn } = node.attrs;
      return fn in flat || fn === "mul" || fn === "where" || fn === "rsqrt" || (fn === "div" && i === 1);
    }
    case "detach":
      return !node.attrs.invariant;
    case "custom":
      return i > 0;
    case "reduce":
      return node.attrs.op !== "sum";
    case "scan":
      return node.attrs.op !== "sum" || node.attrs.exclusive;
    case "matmul":
    case "groupedMatmul":
    case "gather":
    case "scatter":
    case "slice":
      return true;
    default:
      return false;
  }
}

const stoppedByRule = (elements: Tensor): Kill => ({
  reason: "stopped",
  detail: "a custom rule gives it no cotangent",
  elements,
});

function scalarKills(
  { node, inputs }: { node: Node<"map"> & AnyNode; inputs: readonly Tensor[] },
  i: number,
  elements: Tensor,
): Kill[] {
  const { fn } = node.attrs;
  const saturated: Kill = { reason: "saturated", detail: flat[fn]!, elements };
  const underflow: Kill = {
    reason: "underflow",
    detail: `${fn} has a derivative too small for ${node.dtype}`,
    elements,
  };
  const apart = (where: Tensor, there: Kill, elsewhere: Kill): Kill[] => [
    { ...there, elements: elements.and(where) },
    { ...elsewhere, elements: elements.and(where.not()) },
  ];
  switch (fn) {
    case "where":
      return maskKills(node.inputs[0], "a condition takes the other branch", elements);
    case "mul":
      return factorKills(node.inputs[1 - i], inputs[1 - i], elements);
    case "div":
      return apart(inputs[0].eq(0), { reason: "zero input", detail: "what it divides is 0", elements }, underflow);
    case "exp":
      return apart(inputs[0].isFinite(), { ...underflow, detail: "exp underflowed to 0" }, saturated);
    case "pow":
      return apart(inputs[0].eq(0).or(inputs[0].eq(1)).or(inputs[1].eq(0)), saturated, underflow);
    case "rsqrt":
      return [underflow];
    default:
      return [saturated];
  }
}

/** A node under the views and names that hide it. */
function beneath(node: AnyNode): AnyNode {
  while (["reshape", "expand", "permute", "slice", "tag", "call"].includes(node.op)) node = node.inputs[0];
  return node;
}

function factorKills(factor: AnyNode, value: Tensor, elements: Tensor): Kill[] {
  const source = beneath(factor);
  if (source.op === "full")
    return [{ reason: "zero weight", detail: `it is multiplied by ${source.attrs.value}`, elements }];
  if (source.op === "map" && source.attrs.fn === "cast" && source.inputs[0].dtype === "bool")
    return maskKills(source.inputs[0], "it is multiplied by a mask", elements);
  const zero: Kill = { reason: "zero input", detail: "it is multiplied by 0", elements };
  const product = factor.op === "tag" ? beneath(factor) : factor;
  if (!(product.op === "map" && product.attrs.fn === "mul" && sameShape(product.shape, value.shape))) return [zero];
  const [a, b] = product.inputs.map((x) => value.derive(x));
  const nonzero = a.ne(0).and(b.ne(0));
  return [
    { ...zero, elements: elements.and(nonzero.not()) },
    {
      reason: "underflow",
      detail: "it is multiplied by a product too small for its dtype",
      elements: elements.and(nonzero),
    },
  ];
}

/** What a condition hides; where it has to do with a mark `dropped` of its shape, that tells of what. */
function maskKills(condition: AnyNode, detail: string, elements: Tensor): Kill[] {
  const masked: Kill = { reason: "masked", detail, elements };
  const dropped = topologicalOrder([condition], (node) => (node.dtype === "bool" ? node.inputs : [])).find(
    (node) => node.op === "tag" && node.attrs.name === "dropped" && sameShape(node.shape, elements.shape),
  );
  if (!dropped) return [masked];
  const which = elements.derive(dropped);
  return [
    { reason: "dropped", detail: "the token found no place at its expert", elements: elements.and(which) },
    { ...masked, elements: elements.and(which.not()) },
  ];
}

/** The operation whose value a custom rule stands for. */
const valueOf = (node: AnyNode): AnyNode => beneath(node.inputs[0]);

/** A gather kills what it does not take; by whom it was beaten, the index tells. */
function gatherKills(node: AnyNode, x: Tensor, elements: Tensor): Kill[] {
  const choice = node.op === "gather" ? beneath(node.inputs[1]) : undefined;
  if (choice?.op !== "topK") return [{ reason: "unselected", detail: "no index takes it", elements }];
  const unselected: Kill = { reason: "unselected expert", detail: "not among the top k", elements };
  if (node.op !== "gather" || node.inputs[0].shape.join() !== x.shape.join() || node.attrs.axis !== x.ndim - 1)
    return [unselected];
  const taken = apply("gather", [x, x.derive(node.inputs[1])], node.attrs);
  const ties = elements.and(x.eq(taken.min(-1, { keepDims: true }).broadcastTo(x.shape)));
  return [
    { reason: "tie", detail: "as large as the last of the top k, and later in order", elements: ties },
    { ...unselected, elements: elements.and(ties.not()) },
  ];
}

/** What a product, or a running one, over `axes` gives nothing to: another factor is 0, or all of them together are too small. */
function productKills(x: Tensor, axes: readonly number[], elements: Tensor): Kill[] {
  const zeros = x.eq(0).cast("i32");
  const others = zeros
    .sum([...axes], { keepDims: true })
    .sub(zeros)
    .gt(0);
  return [
    { reason: "zero input", detail: "another factor of the product is 0", elements: elements.and(others) },
    {
      reason: "underflow",
      detail: "the product of the other factors underflowed to 0",
      elements: elements.and(others.not()),
    },
  ];
}

function extremeKills(node: Node<"reduce"> & AnyNode, x: Tensor, output: Tensor, elements: Tensor): Kill[] {
  const { op, axes } = node.attrs;
  if (op === "prod") return productKills(x, axes, elements);
  const kept = x.shape.map((n, axis) => (axes.includes(axis) ? 1 : n));
  const ties = elements.and(x.eq(output.reshape(kept).broadcastTo(x.shape)));
  return [
    { reason: "tie", detail: `as extreme as what ${op} took, and later in order`, elements: ties },
    { reason: "unselected", detail: `${op} took another`, elements: elements.and(ties.not()) },
  ];
}

/** A matrix without rows is that of an expert that no token was sent to. */
function groupKills(
  node: Node<"groupedMatmul"> & AnyNode,
  inputs: readonly Tensor[],
  i: number,
  elements: Tensor,
): Kill[] {
  const detail = "all that it is multiplied with is 0";
  if (node.attrs.mode !== "rows" || i !== 1) return [{ reason: "zero input", detail, elements }];
  const [, rhs, offsets] = inputs;
  const [groups] = rhs.shape;
  const counts = offsets.slice([1, groups + 1]).sub(offsets.slice([0, groups]));
  const empty = counts.eq(0).reshape([groups, 1, 1]).broadcastTo(rhs.shape);
  return [
    { reason: "unselected expert", detail: "no token was sent to the expert", elements: elements.and(empty) },
    { reason: "zero input", detail, elements: elements.and(empty.not()) },
  ];
}

/** The phantom of what was killed where something arrived: nonzero there, zero elsewhere. */
export const phantomAt = (elements: Tensor, like: Tensor): Tensor => where(elements, probeLike(like), 0);
