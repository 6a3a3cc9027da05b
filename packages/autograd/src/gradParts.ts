import { GradientError, onesLike, zerosLike } from "@switchyard/tensor";
import type { AnyNode } from "@switchyard/tensor/graph";
import { backward, type ByClass, type Classes } from "./backward.ts";
import { traceLoss, type LossOf, type TracedLoss } from "./grad.ts";
import { treeLeaves, treeUnflatten } from "./tree.ts";

/** What tells paths from the loss to a parameter apart. */
export interface PathClass {
  /** The innermost `term` on the path; none for untagged loss. */
  readonly term?: string;
  /** The scope of the operation that consumes the parameter; none outside all scopes. */
  readonly scope?: string;
  /** Which of the marks asked for lie on the path, in alphabetical order. */
  readonly marks?: readonly string[];
  /** The path passes a custom rule declared `linear: false`, beyond which classes cannot be told apart. */
  readonly nonlinear?: true;
}

export interface GradPart<P> {
  readonly class: PathClass;
  /** A tree like the parameters, zeros where no path of the class leads: the same tensor in every part. */
  readonly grads: P;
}

export interface GradPartsOptions {
  /** The marks to tell apart; others are not looked at. */
  readonly marks?: readonly string[];
}

/** Beyond this many classes of term and marks, carrying each through every rule costs more than it tells. */
const mostClasses = 64;

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
    const { rest, options } = splitOptions<R>(args);
    const traced = traceLoss("gradParts", f, params, rest);
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
  return backward([seed], variables.nodes, pathClasses(new Set(variables.nodes), new Set(marks)));
}

const untagged: PathClass = {};

/** The rules by which a path's class changes on the way from the loss to a parameter. */
function pathClasses(parameters: ReadonlySet<AnyNode>, marks: ReadonlySet<string>): Classes<PathClass> {
  const known = new Map<string, PathClass>([["{}", untagged]]);
  let carried = 1;
  const intern = (cls: PathClass): PathClass => {
    const { term, scope, marks: crossed, nonlinear } = cls;
    const key = JSON.stringify({ term, scope, crossed, nonlinear });
    const found = known.get(key);
    if (found) return found;
    if (scope === undefined && ++carried > mostClasses)
      throw new GradientError(
        `gradParts: more than ${mostClasses} classes of terms and marks; ask for fewer marks or merge terms`,
      );
    known.set(key, cls);
    return cls;
  };
  return {
    beyond(node, cls) {
      if (node.op === "custom" && !node.attrs.linear) return intern({ nonlinear: true });
      if (node.op !== "tag" || cls.nonlinear) return cls;
      const { kind, name } = node.attrs;
      if (kind === "term") return intern({ ...cls, term: name });
      if (kind === "mark" && marks.has(name)) return intern({ ...cls, marks: withMark(cls.marks, name) });
      return cls;
    },
    arriving(x, consumer, cls) {
      // A parameter under other names (a mark, a checkpoint's input) is consumed by who reads it under the last of them.
      if (!isParameter(x, parameters) || isParameter(consumer, parameters)) return cls;
      const { scope } = consumer.provenance;
      return scope === "" ? cls : intern({ ...cls, scope });
    },
  };
}

/** Whether a node is a parameter, or a name for one. */
function isParameter(node: AnyNode, parameters: ReadonlySet<AnyNode>): boolean {
  while (node.op === "tag" && !parameters.has(node)) node = node.inputs[0];
  return parameters.has(node);
}

const withMark = (marks: readonly string[] = [], name: string): readonly string[] =>
  [...new Set([...marks, name])].toSorted();

const optionNames: readonly string[] = ["marks"] satisfies (keyof GradPartsOptions)[];

/** Takes the options off the end: a plain object with options and nothing else. */
function splitOptions<R extends readonly unknown[]>(args: readonly unknown[]): { rest: R; options: GradPartsOptions } {
  const last = args.at(-1);
  const keys = last !== null && typeof last === "object" ? Object.keys(last) : [];
  const isOptions = keys.length > 0 && keys.every((key) => optionNames.includes(key));
  return isOptions
    ? { rest: args.slice(0, -1) as readonly unknown[] as R, options: last as GradPartsOptions }
    : { rest: args as readonly unknown[] as R, options: {} };
}
