/** A mutant that means the same, and why: no test can tell it from the source. */
export interface Equivalent {
  readonly file: string;
  /** Of the line that it changes. */
  readonly line: string;
  /** `from -> to`. */
  readonly change: string;
  readonly why: string;
}

export const equivalents: readonly Equivalent[] = [
  {
    file: "indexing.ts",
    line: "const rank = where(reached, positions(updates, index, attrs).neg().add(count), 0);",
    change: "0 -> 1",
    why: "what did not reach the maximum is left out below, and what did ranks 1 or higher",
  },
  {
    file: "scalar.ts",
    line: "const toLarger = (ct: Tensor, a: Tensor, b: Tensor): Tensor => where(a.eq(b), ct.mul(0.5), where(a.gt(b), ct, 0));",
    change: "a.gt(b) -> a.ge(b)",
    why: "equal ones were told apart before",
  },
  {
    file: "scalar.ts",
    line: "return ct.mul(zeroAs(corner, b.mul(a.pow(where(corner, 1, b.sub(1))))));",
    change: "1 -> 2",
    why: "any finite power will do in the corner, where it is thrown away",
  },
  {
    file: "scalar.ts",
    line: "return ct.mul(zeroAs(zero, y.mul(where(zero, 1, a).log())));",
    change: "1 -> 2",
    why: "any finite logarithm will do at 0, where it is thrown away",
  },
  {
    file: "scan.ts",
    line: "for (let covered = 1; covered < n; covered *= 2) {",
    change: "covered < n -> covered <= n",
    why: "one round more adds zeros",
  },
  {
    file: "scan.ts",
    line: "if (2 * covered < n) product = product.mul(ahead(product, covered));",
    change: "2 * covered < n -> 2 * covered <= n",
    why: "the last product is of no use; leaving it out saves time",
  },
  {
    file: "scan.ts",
    line: "if (2 * covered < n) product = product.mul(ahead(product, covered));",
    change: "2 * covered -> 2 / covered",
    why: "the last product is of no use; leaving it out saves time",
  },
  {
    file: "scan.ts",
    line: "return scatter(ct, index, x.shape, { axis: last, batch: last, sorted: true });",
    change: "true -> false",
    why: "the promise saves a sort and changes no value",
  },
  {
    file: "views.ts",
    line: "const forwards = ct.flip(steps.flatMap((step, axis) => (step < 0 ? [axis] : [])));",
    change: "step < 0 -> step <= 0",
    why: "no step is 0",
  },
  {
    file: "views.ts",
    line: "const forwards = ct.flip(steps.flatMap((step, axis) => (step < 0 ? [axis] : [])));",
    change: "0 -> 1",
    why: "no step is 0, so below 1 is below 0",
  },
  {
    file: "views.ts",
    line: "interior.push(empty ? 0 : Math.abs(steps[axis]) - 1);",
    change: "0 -> 1",
    why: "between no elements there are no gaps",
  },
];
