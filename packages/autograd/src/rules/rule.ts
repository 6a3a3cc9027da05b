import type { Tensor } from "@switchyard/tensor";
import type { Node, PrimitiveName } from "@switchyard/tensor/graph";

/** What a rule gives one input: its cotangent, or a thunk where another input may be the only one that wants one, or null for zero. */
export type Cotangent = Tensor | (() => Tensor) | null;

/**
 * The gradient of a primitive: cotangents of its inputs, one for each, from the cotangent of its output.
 *
 * Written in differentiable operations, so gradients of gradients are free, and linear in `ct`. It is called only if some
 * float input wants a cotangent; what it returns for integer and bool inputs is null.
 */
export type VjpRule<P extends PrimitiveName> = (
  ct: Tensor,
  node: Node<P>,
  inputs: readonly Tensor[],
  output: Tensor,
) => readonly Cotangent[];

/** The gradient of an operation whose output is constant in every input: integers, comparisons, steps. */
export const constant = (): readonly Cotangent[] => [];
