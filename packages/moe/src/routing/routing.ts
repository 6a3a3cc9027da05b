import type { Key, Tensor } from "@switchyard/tensor";

/**
 * The pairs (token, choice) in the order in which experts see them: sorted by expert, stable. Dispatch and combine read these.
 * `N` is T·k; slots past the last of `offsets` hold the pairs of padding and of dropped tokens, which no expert sees.
 */
export interface Slots {
  /** `i32[N]`. */
  readonly token: Tensor<"i32">;
  /** `i32[N]`, ascending; the number of experts where no expert sees the slot. */
  readonly expert: Tensor<"i32">;
  /** `[N]`, with gradient to the weights of the routing. */
  readonly weight: Tensor;
  /** `bool[N]`: whether an expert sees the slot. Absent if every slot is seen, as without a mask. */
  readonly live?: Tensor<"bool">;
}

/**
 * What a router decided for T tokens, E experts and k choices a token. A record, returned and never kept: losses, dispatch
 * and metrics are functions of it.
 *
 * `experts`, `weights`, `dropped` and `rows` are absent where experts choose tokens.
 */
export interface Routing {
  /** `i32[T, k]`, the best choice first. */
  readonly experts?: Tensor<"i32">;
  /** `[T, k]`: what the output of each chosen expert is multiplied by; 0 for padding. */
  readonly weights?: Tensor;
  /** `[T, E]`: the weights by expert, 0 where an expert is not chosen. */
  readonly gates: Tensor;
  /** `[T, E]`, before noise. */
  readonly logits?: Tensor;
  /** `[T, E]`: softmax of the logits, or what the router calls its probabilities. */
  readonly probs: Tensor;
  /** `[T, E]`: the standard normal draw. Absent in evaluation. */
  readonly noise?: Tensor;
  /** `[T, E]`: what the noise was multiplied by, 0 in evaluation. Absent if the router has no noise. */
  readonly noiseStd?: Tensor;
  /** `[T, E]`: `logits + noise · noiseStd`, by which the choice was made. */
  readonly noisyLogits?: Tensor;
  readonly slots: Slots;
  /** `i32[T, k]`: the slot of each pair, the inverse of the sort. */
  readonly rows?: Tensor<"i32">;
  /** `i32[E]`: pairs that each expert sees. */
  readonly counts: Tensor<"i32">;
  /** `i32[E]`: pairs that asked for each expert, before any capacity. */
  readonly requested: Tensor<"i32">;
  /** `i32[E + 1]`: expert `e` sees slots `offsets[e]..offsets[e + 1]`. */
  readonly offsets: Tensor<"i32">;
  /** `bool[T, k]`: pairs of real tokens that found no place. */
  readonly dropped?: Tensor<"bool">;
  /** `bool[T]`: true for a real token, false for padding. Absent if all are real. */
  readonly mask?: Tensor<"bool">;
}

/** A routing in which tokens chose experts, as most do. */
export interface TokenRouting extends Routing {
  readonly experts: Tensor<"i32">;
  readonly weights: Tensor;
  readonly rows: Tensor<"i32">;
  readonly dropped: Tensor<"bool">;
}

/** A routing of tokens by logits, as all but those are that follow a rule or a record. */
export interface LogitRouting extends TokenRouting {
  readonly logits: Tensor;
}

/** What a router may be told about a batch. */
export interface RouteOptions {
  /** Whether to draw noise; false by default. A router that draws needs `key`. */
  readonly train?: boolean;
  readonly key?: Key;
  /** `[T, E]`: a standard normal draw to use in place of one from the key, as when a record is replayed. */
  readonly noise?: Tensor;
  /** `bool[T]`: true for a real token. Padding is sent to no expert and counts in no statistic. */
  readonly mask?: Tensor;
  /** `i32[T]`, for routers that look at the token rather than at its features. */
  readonly tokenIds?: Tensor;
}

/** Sizes that a router's parameters are made for. */
export interface RouterSizes {
  readonly dim: number;
  readonly experts: number;
}

/** Sends tokens to experts. `P` are its parameters, a plain tree; `R` is what its records hold. */
export interface Router<P, R extends Routing = Routing> {
  /** Set where a token's routing may depend on tokens after it: a decoder then trains on what it cannot see when it writes. */
  readonly looksAhead?: boolean;
  init(key: Key, sizes: RouterSizes): P;
  /** @param x `[T, D]`. */
  route(params: P, x: Tensor, options?: RouteOptions): R;
}
