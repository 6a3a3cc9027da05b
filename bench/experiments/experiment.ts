/** What one run of one setting measured, by name. */
export type Measured = Readonly<Record<string, number>>;

/** Means over the seeds. */
export type Means = (setting: string, metric: string) => number;

/** A claim that the field has made, tried small. */
export interface Experiment {
  /** What is claimed, and who claims it. */
  readonly claim: string;
  /** What is trained on what, in short. */
  readonly task: string;
  /** In the order of the table. The same seed gives every setting the same data. */
  readonly settings: Readonly<Record<string, (seed: number) => Promise<Measured>>>;
  /** The metric that the plot shows. */
  readonly plotted: string;
  /** What the claim comes to in these numbers; each is checked on the means. */
  readonly checks: readonly Check[];
}

export interface Check {
  readonly says: string;
  readonly holds: (mean: Means) => boolean;
}
