import { ShapeError } from "../errors.ts";
import { describe } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

/** An axis's name: a letter, or `.0`, `.1`, … for the axes under an ellipsis, counted from the last. */
export type Label = string;

export interface Equation {
  /** One label for each axis of each operand. */
  readonly inputs: readonly (readonly Label[])[];
  readonly output: readonly Label[];
  /** Ellipsis axes broadcast, so an operand's own extent may be 1 where this is more. */
  readonly extents: ReadonlyMap<Label, number>;
}

/**
 * Reads an equation such as `"b...ij,bjk->...ik"` against the operands' shapes. Without an arrow the output is the ellipsis and
 * the letters that occur once, in alphabetical order, as in NumPy.
 *
 * @throws {ShapeError} if the equation is malformed or does not fit the operands.
 */
export function parseEquation(equation: string, operands: readonly Tensor[]): Equation {
  const fail = (rule: string): never => {
    throw new ShapeError(`einsum: "${equation}": ${rule} (got ${operands.map(describe).join(", ") || "no operands"})`);
  };
  if (typeof equation !== "string") throw new ShapeError(`einsum: the equation comes first, got ${String(equation)}`);
  const [left, right, ...excess] = equation.replaceAll(/\s/g, "").split("->");
  if (excess.length > 0) fail("more than one ->");
  const terms = left.split(",");
  for (const term of right === undefined ? terms : [...terms, right])
    if (!/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(term))
      fail(`"${term}" is not a term; labels are letters, with at most one ellipsis`);
  if (terms.length !== operands.length) fail(`${terms.length} terms for ${operands.length} operands`);

  const inputs = terms.map((term, i) => labelAxes(term, operands[i].ndim, fail));
  const extents = extentsOf(inputs, operands, fail);
  const hidden = [...extents.keys()].filter(isHidden).toSorted((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
  const output = right === undefined ? [...hidden, ...lettersOnce(terms)] : outputAxes(right, hidden, fail);
  for (const label of output) if (!extents.has(label)) fail(`output label "${label}" is in no operand`);
  if (new Set(output).size !== output.length) fail("the output repeats a label");
  return { inputs, output, extents };
}

type Fail = (rule: string) => never;

const lettersOf = (term: string | undefined): Label[] => (term ?? "").split("");

const isHidden = (label: Label): boolean => label.startsWith(".");

function labelAxes(term: string, ndim: number, fail: Fail): Label[] {
  const [before, after] = term.split("...");
  const hidden = ndim - before.length - (after?.length ?? 0);
  if (hidden < 0 || (after === undefined && hidden !== 0))
    fail(`term "${term}" names ${ndim - hidden} axes of an operand that has ${ndim}`);
  return [...lettersOf(before), ...Array.from({ length: hidden }, (_, i) => `.${hidden - 1 - i}`), ...lettersOf(after)];
}

function extentsOf(inputs: readonly Label[][], operands: readonly Tensor[], fail: Fail): Map<Label, number> {
  const extents = new Map<Label, number>();
  inputs.forEach((labels, i) =>
    labels.forEach((label, axis) => {
      const extent = operands[i].shape[axis];
      const known = extents.get(label) ?? extent;
      const broadcasts = isHidden(label) && (known === 1 || extent === 1);
      if (known !== extent && !broadcasts)
        fail(`${isHidden(label) ? "an ellipsis axis" : `label "${label}"`} has extents ${known} and ${extent}`);
      extents.set(label, known === 1 ? extent : known);
    }),
  );
  return extents;
}

const lettersOnce = (terms: readonly string[]): Label[] => {
  const letters = terms.flatMap((term) => lettersOf(term.replace("...", "")));
  return letters.filter((x) => letters.indexOf(x) === letters.lastIndexOf(x)).toSorted();
};

function outputAxes(term: string, hidden: readonly Label[], fail: Fail): Label[] {
  if (hidden.length > 0 && !term.includes("...")) fail("the operands' ellipsis axes are missing from the output");
  const [before, after] = term.split("...");
  return after === undefined ? lettersOf(before) : [...lettersOf(before), ...hidden, ...lettersOf(after)];
}
