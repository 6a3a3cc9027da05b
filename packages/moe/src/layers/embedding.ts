import { DTypeError, random, type Key, type Tensor } from "@switchyard/tensor";
import { checkOptions, describe, nonNegative, positiveInteger, requireOptions } from "@switchyard/tensor/graph";

export interface EmbeddingOptions {
  /** V, how many tokens there are. */
  readonly vocab: number;
  /** D. */
  readonly dim: number;
  /** The standard deviation of the first table; 1 by default. */
  readonly initStd?: number;
}

export interface EmbeddingParams {
  /** `[V, D]`. */
  readonly table: Tensor;
}

export interface Embedding {
  init(key: Key): EmbeddingParams;
  /** `i32[…] -> […, D]`; the row of zeros for a token that is not in the table. */
  apply(params: EmbeddingParams, tokens: Tensor): Tensor;
}

/**
 * A row of a table for each token. The table starts normal.
 *
 * @throws {ConfigError} on a bad option.
 */
export function embedding(options: EmbeddingOptions): Embedding {
  checkOptions("embedding", options, { vocab: positiveInteger, dim: positiveInteger, initStd: nonNegative });
  requireOptions("embedding", options, "vocab", "dim");
  const { vocab, dim, initStd = 1 } = options;
  return {
    init: (key) => ({ table: random.normal(key, [vocab, dim]).mul(initStd) }),
    apply({ table }, tokens) {
      if (tokens.dtype !== "i32") throw new DTypeError(`embedding: tokens must be i32 (got ${describe(tokens)})`);
      return table.gather(tokens, 0);
    },
  };
}
