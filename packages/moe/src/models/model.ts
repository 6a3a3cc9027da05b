import type { Key, Tensor } from "@switchyard/tensor";
import type { TextBatch } from "../text/batches.ts";

export interface LossOptions {
  /** Whether to do what is for training alone: noise, dropout. */
  readonly train: boolean;
  /** Another one each step. */
  readonly key: Key;
}

/**
 * What `train` takes: parameters `P`, batches `B`, and what a loss comes with, `A`. Functions of their arguments, nothing kept.
 */
export interface Model<P, B, A extends { readonly loss: Tensor }> {
  init(key: Key): P;
  /** `loss`, a scalar, and what else is worth knowing about a step. Synchronous: it writes a graph. */
  loss(params: P, batch: B, options: LossOptions): A;
  /** Whether the parameter at a path, such as `layers.0.norm.scale`, is left f32 where `train` has the precision f16; none is by default. */
  readonly keepsF32?: (path: string) => boolean;
  /** The parameters after a step's update, for changes that no gradient makes, such as `updateBias`. */
  afterStep?(params: P, aux: NoInfer<A>): P;
}

/**
 * A model of token sequences that can also go on with one. `C` is what it remembers of a sequence: a tree whose shapes stay the
 * same, so that each step is the same plan.
 */
export interface LanguageModel<
  P,
  A extends { readonly loss: Tensor } = { readonly loss: Tensor },
  O extends { readonly logits: Tensor } = { readonly logits: Tensor },
  C = unknown,
> extends Model<P, TextBatch, A> {
  /** The longest sequence. */
  readonly context: number;
  /** `i32[B, S] -> logits [B, S, V]`, and what else comes with them. */
  apply(params: P, tokens: Tensor, options?: Partial<LossOptions>): O;
  /** The memory of an empty sequence, for a number of sequences side by side. */
  start(params: P, batch: number): C;
  /** Goes on from a memory: `i32[B, S] -> [B, S, V]`. The whole sequence must stay within the context. */
  step(params: P, tokens: Tensor, cache: C): { readonly logits: Tensor; readonly cache: C };
}
