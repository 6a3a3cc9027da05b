/** Three digits. */
export const number = (x: number): string =>
  x === 0 || (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e4) ? `${Number(x.toPrecision(3))}` : x.toExponential(1);

export const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** What a term is called: untagged loss is the task. */
export const termName = (term: string | undefined): string => term || "task";
