import { onesLike, zerosLike } from "@switchyard/tensor";
import { backward, type ByClass } from "./backward.ts";
import { requirePath, traceLoss, type LossOf, type TracedLoss } from "./grad.ts";
import { splitOptions } from "./ledger/options.ts";
import { pathClasses, untagged, type PathClass } from "./ledger/pathClass.ts";
import { treeLeaves, treeUnflatten } from "./tree.ts";

export interface GradPart<P> {
  readonly class: PathClass;
  /** A tree like the parameters, zeros where no path of the class leads: the same tensor in every part. */
  readonly grads: P;
}

export interface GradPartsOptions {
  /** The marks to tell apart; others are not looked at. */
  readonly marks?: readonly string[];
}

/**
 * The gradient of a loss by class of path. The parts add up to the gradient, because every gradient rule is linear in its
 * cotangent: cotangents are carried separately through the same rules, in the same graph. Lazy and differentiable.
 *
 * @returns a function of the arguments of `f` and, after them, options: an object of nothing but `marks`.
 * @throws {GradientError} as `grad`, and for more than 64 classes of term and marks.
 */
export const gradParts =
  <P, R extends readonly unknown[], O extends LossOf>(f: (params: P, ...rest: R) => O) =>
  (params: P, ...args: [...rest: R, options?: GradPartsOptions]): GradPart<P>[] => {
    const { rest, options } = splitOptions<R, GradPartsOptions>(args, ["marks"]);
    const traced = traceLoss("gradParts", f, params, rest);
    requirePath("gradParts", traced);
    const parts = partsOf(traced, options);
    const classes = new Set(parts.flatMap((byClass) => [...byClass.keys()]));
    // Most classes end at few parameters: one tensor of zeros serves all the others.
    const zeros = treeLeaves(params).map(zerosLike);
    return [...classes].map((cls) => {
      const grads = parts.map((byClass, i) => byClass.get(cls) ?? zeros[i]);
      return { class: cls, grads: treeUnflatten(traced.variables.structure, grads) };
    });
  };

/** The gradient of each parameter by class, without the zeros. */
function partsOf<P, O>(
  { variables, loss }: TracedLoss<P, O>,
  { marks = [] }: GradPartsOptions,
): readonly ByClass<PathClass>[] {
  const seed = { node: loss.node, ct: onesLike(loss), class: untagged };
  return backward([seed], variables.nodes, pathClasses("gradParts", new Set(variables.nodes), new Set(marks)));
}
