import { GradientError } from "@switchyard/tensor";

/** How many characters must be put in, left out or changed to make one string the other (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length];
}

/** How many paths a message lists. */
const listed = 5;

/** An error that names the path that is meant, where one is close or has the name in it, else what there is. */
export function unknownPath(wanted: string, known: readonly string[]): GradientError {
  const closest = known.toSorted((a, b) => editDistance(wanted, a) - editDistance(wanted, b)).at(0) ?? "";
  const isClose = 2 * editDistance(wanted, closest) <= wanted.length;
  const meant = isClose ? closest : known.find((path) => path.includes(wanted));
  const more = known.length > listed ? `, … ${known.length} in all` : "";
  const list = known.length === 0 ? "none" : `${known.slice(0, listed).join(", ")}${more}`;
  const remedy = meant ? `did you mean "${meant}"?` : `there are ${list}`;
  return new GradientError(`ledger: nothing is at "${wanted}"; ${remedy}`);
}

/**
 * The positions of the paths that are asked for, by name or by the beginning of their names.
 *
 * @throws {GradientError} for a name that fits none.
 */
export function chosenPaths(paths: readonly string[], asked: readonly string[] = [""]): number[] {
  const fits = (path: string, name: string): boolean => name === "" || path === name || path.startsWith(`${name}.`);
  for (const name of asked) if (!paths.some((path) => fits(path, name))) throw unknownPath(name, paths);
  return [...paths.keys()].filter((i) => asked.some((name) => fits(paths[i], name)));
}
