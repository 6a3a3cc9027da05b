import type { KernelProfile } from "@switchyard/tensor";
import type { Finding as Diagnosis } from "../diagnostics/doctor/checks.ts";
import type { TextEntropies } from "../text/entropy.ts";

/** How much a term of the loss moves a router: its part of the gradient. */
export interface RouterPart {
  readonly layer: number;
  /** `task` for what has no term. */
  readonly term: string;
  readonly norm: number;
  /** `⟨part, total⟩ / ‖total‖²`: the shares of a layer add up to 1, and one that works against the others is below 0. */
  readonly share: number;
}

/** What a look into a trained model, on text that it has not seen, adds to what its run noted. */
export interface CloseLook {
  readonly entropies: TextEntropies;
  /** A passage, token by token, and for each layer the first choice of each token. */
  readonly passage: { readonly tokens: readonly string[]; readonly layers: readonly (readonly number[])[] };
  readonly experts: number;
  readonly router: readonly RouterPart[];
  /** What is wrong with the routing of a batch. */
  readonly diagnosis: readonly Diagnosis[];
  /** Of one step, forward, backward and update, on the machine that made the report. */
  readonly kernels: readonly KernelProfile[];
  readonly device: string;
}
