/** The middle number, or the mean of the middle two; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length === 0 ? NaN : (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}
