/** A mutant that means the same, and why: no test can tell it from the source. */
export interface Equivalent {
  readonly file: string;
  /** Of the line that it changes. */
  readonly line: string;
  /** `from -> to`. */
  readonly change: string;
  readonly why: string;
}

export const equivalents: readonly Equivalent[] = [];
