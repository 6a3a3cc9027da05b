/** The largest of what is finite, and above 0: what the rest is drawn in proportion to. */
export function largestOf(sizes: readonly number[]): number {
  let largest = Number.MIN_VALUE;
  for (const size of sizes) if (Number.isFinite(size)) largest = Math.max(largest, size);
  return largest;
}

/** The part that a size makes of a whole; what is not finite is drawn as the whole. */
export const proportion = (size: number, whole: number): number => (Number.isFinite(size) ? size / whole : 1);
