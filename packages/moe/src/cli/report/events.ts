import type { Ceilings, KernelProfile } from "@switchyard/tensor";
import type { Judgement } from "../judge.ts";

/** What happens in a training run, for whoever shows it. */
export type TrainEvent =
  | {
      readonly event: "begin";
      readonly run: string;
      readonly device: string;
      /** Whether it computes with 256-bit vectors. */
      readonly revectorized: boolean;
      readonly parameters: number;
      /** That a token meets: k experts of each mixture, not all. */
      readonly activeParameters: number;
      readonly trainCharacters: number;
      readonly heldOutCharacters: number;
      readonly vocabulary: number;
      readonly steps: number;
      readonly unigram: number;
      readonly bigram: number;
    }
  | { readonly event: "sample"; readonly when: "before" | "after"; readonly prompt: string; readonly text: string }
  | Progress
  | ProfileEvent
  | { readonly event: "stopped"; readonly run: string; readonly step: number; readonly steps: number }
  | ({ readonly event: "end"; readonly run: string; readonly seconds: number } & Judgement);

/** Where the time of one step went. */
export interface ProfileEvent {
  readonly event: "profile";
  readonly milliseconds: number;
  /** The longest first. */
  readonly kernels: readonly KernelProfile[];
  /** Of the device, if it counts operations and bytes. */
  readonly ceilings?: Ceilings;
}

export interface Progress {
  readonly event: "progress";
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  /** Nats per character on this step's batch. */
  readonly loss: number;
  readonly heldOut?: number;
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
  /** For each layer, the share of the pairs of token and choice that each expert got. */
  readonly shares: readonly (readonly number[])[];
  /** For each layer, the squared coefficient of variation of those. */
  readonly cvSquared: readonly number[];
  /** What that would be on average if each token chose among all experts evenly by lot: `(E / k - 1) / T`. Balance cannot show below it. */
  readonly cvSquaredByChance: number;
}

/** Shows a run. `progress` is not shown each time; `wants` says when, so that nothing is read from the device in vain. */
export interface TrainReporter {
  wants(step: number, steps: number): boolean;
  show(event: TrainEvent): void;
  /** Leaves the terminal as it should be. */
  close(): void;
}
