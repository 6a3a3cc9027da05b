import { GradientError, onesLike, zerosLike, type Tensor } from "@switchyard/tensor";
import { describe, isFloat, isTensor } from "@switchyard/tensor/graph";
import { backward, dependents } from "./backward.ts";
import { treeLeaves, treeUnflatten } from "./tree.ts";
import { freshVariables, type Variables } from "./variables.ts";
import { rejectPromise, whole } from "./vjp.ts";

/** What a function to differentiate returns: a scalar, or an object whose `loss` is one. */
export type LossOf = Tensor | { readonly loss: Tensor };

/** A loss written in fresh variables. */
export interface TracedLoss<P, O> {
  readonly variables: Variables<P>;
  readonly value: O;
  readonly loss: Tensor;
}

/**
 * Calls `f` on fresh variables in the place of `params`.
 *
 * @param op for messages.
 * @throws {GradientError} if the loss is no float scalar.
 */
export function traceLoss<P, R extends readonly unknown[], O extends LossOf>(
  op: string,
  f: (params: P, ...rest: R) => O,
  params: P,
  rest: R,
): TracedLoss<P, O> {
  const variables = freshVariables(op, params);
  const value = rejectPromise(op, f(variables.tree, ...rest));
  return { variables, value, loss: lossIn(op, value) };
}

/** @throws {GradientError} if no parameter reaches the loss. */
export function requirePath<P, O>(op: string, { variables, loss }: TracedLoss<P, O>): void {
  if (dependents([loss.node], new Set(variables.nodes)).length > 0) return;
  throw new GradientError(
    `${op}: no parameter reaches the loss; use the parameters that the function is given, not the tensors they were made of (got ${variables.paths.length || "no"} tensors)`,
  );
}

function lossIn(op: string, value: unknown): Tensor {
  const loss = isTensor(op, value) ? value : (value as { loss?: unknown } | null | undefined)?.loss;
  if (!isTensor(op, loss))
    throw new GradientError(
      `${op}: the function must return a scalar tensor or an object with a scalar \`loss\`, got ${String(value)}`,
    );
  if (loss.ndim !== 0 || !isFloat(loss.dtype))
    throw new GradientError(
      `${op}: the loss must be a float scalar (got ${describe(loss)}); reduce it first, for example .sum()`,
    );
  return loss;
}

/**
 * The value of a loss and its gradient by the first argument.
 *
 * @param f synchronous; returns a scalar tensor, or an object with a scalar `loss`. Tensors it closes over are constants.
 * @returns a function that gives what `f` returned and the gradients, a tree like `params` with zeros where a tensor does not
 * reach the loss.
 * @throws {GradientError} for an integer among the parameters (with its path), an async `f`, a loss that is no float scalar, or
 * one that no parameter reaches.
 */
export const valueAndGrad =
  <P, R extends readonly unknown[], O extends LossOf>(f: (params: P, ...rest: R) => O) =>
  (params: P, ...rest: R): [value: O, grads: P] => {
    const traced = traceLoss("grad", f, params, rest);
    requirePath("grad", traced);
    const { variables, value, loss } = traced;
    const seed = { node: loss.node, ct: onesLike(loss), class: null };
    const arrived = backward([seed], variables.nodes, whole);
    const leaves = treeLeaves(params);
    const grads = arrived.map((cts, i) => cts.get(null) ?? zerosLike(leaves[i]));
    return [value, treeUnflatten(variables.structure, grads)];
  };

/** The gradient of a loss by the first argument: `valueAndGrad` without the value. */
export const grad =
  <P, R extends readonly unknown[], O extends LossOf>(f: (params: P, ...rest: R) => O) =>
  (params: P, ...rest: R): P =>
    valueAndGrad(f)(params, ...rest)[1];
