/** The course of a value over a run in columns of equal parts of the run, however long it is. */
export interface Curve {
  /**
   * Takes in the value that holds at a point of the run.
   *
   * @param at the point, above 0 and up to 1.
   * @param step how much of the run one step is: the first value holds for it, each other one since the value before.
   */
  add(value: number, at: number, step: number): void;
  /** The mean in each column; undefined where nothing is known, as in what is still to come. */
  columns(): readonly (number | undefined)[];
}

export function createCurve(width: number): Curve {
  const sums = new Float64Array(width);
  const counts = new Float64Array(width);
  let known: number | undefined;
  return {
    add(value, at, step) {
      const since = known ?? at - step;
      // A column that is entered counts, so that a short run fills every column and a long one averages within them.
      const [from, to] = [Math.floor(since * width + 1e-9), Math.ceil(at * width - 1e-9)];
      for (let i = Math.max(0, from); i < Math.min(width, to); i++) {
        sums[i] += value;
        counts[i]++;
      }
      known = at;
    },
    columns: () => Array.from(sums, (sum, i) => (counts[i] === 0 ? undefined : sum / counts[i])),
  };
}
