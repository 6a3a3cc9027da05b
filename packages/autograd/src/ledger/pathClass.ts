import { GradientError } from "@switchyard/tensor";
import type { AnyNode } from "@switchyard/tensor/graph";
import type { Classes } from "../backward.ts";

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

/** The class of the loss itself. */
export const untagged: PathClass = {};

/** Beyond this many classes of term and marks, carrying each through every rule costs more than it tells. */
const mostClasses = 64;

/** Equal classes have equal keys. */
export const keyOf = ({ term, scope, marks, nonlinear }: PathClass): string =>
  JSON.stringify([term, scope, marks, nonlinear]);

/**
 * The rules by which a path's class changes on the way from the loss to a parameter.
 *
 * @param op for messages.
 * @throws {GradientError} from the rules, for more than 64 classes of term and marks.
 */
export function pathClasses(
  op: string,
  parameters: ReadonlySet<AnyNode>,
  marks: ReadonlySet<string>,
): Classes<PathClass> {
  const known = new Map<string, PathClass>([[keyOf(untagged), untagged]]);
  let carried = 1;
  const intern = (cls: PathClass): PathClass => {
    const key = keyOf(cls);
    const found = known.get(key);
    if (found) return found;
    if (cls.scope === undefined && ++carried > mostClasses)
      throw new GradientError(
        `${op}: more than ${mostClasses} classes of terms and marks; ask for fewer marks or merge terms`,
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
