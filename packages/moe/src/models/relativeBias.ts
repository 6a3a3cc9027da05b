import { tensor, type Tensor } from "@switchyard/tensor";

export interface RelativeBiasOptions {
  /** How many distances are told apart, near ones exactly and far ones by their logarithm. */
  readonly buckets: number;
  /** From here on, all distances are one. */
  readonly maxDistance: number;
  /** Whether keys after the query are told apart from those before it; if not, they are as near as the query itself. */
  readonly bidirectional: boolean;
}

/**
 * What attention adds to its scores by the distance of query and key: `[buckets, heads] -> [heads, S, T]`.
 *
 * Source: Raffel et al. 2020, "T5", section 2.1; the buckets are those of its implementation in Mesh TensorFlow.
 */
export function relativeBias(table: Tensor, queries: number, keys: number, options: RelativeBiasOptions): Tensor {
  const buckets = new Int32Array(queries * keys);
  for (let q = 0; q < queries; q++) for (let k = 0; k < keys; k++) buckets[q * keys + k] = bucketOf(k - q, options);
  const index = tensor(buckets, { shape: [queries, keys], device: table.device });
  return table.gather(index, 0).permute([2, 0, 1]);
}

/** @param offset of the key from the query. */
function bucketOf(offset: number, { buckets, maxDistance, bidirectional }: RelativeBiasOptions): number {
  const count = bidirectional ? buckets >> 1 : buckets;
  const first = bidirectional && offset > 0 ? count : 0;
  const distance = bidirectional ? Math.abs(offset) : Math.max(0, -offset);
  const exact = count >> 1;
  if (distance < exact) return first + distance;
  // In f32, as everywhere this is computed: a distance at the border of two buckets falls as it does there.
  const far = Math.fround(Math.fround(Math.log(Math.fround(distance / exact))) / Math.log(maxDistance / exact));
  return first + Math.min(count - 1, exact + Math.trunc(Math.fround(far * (count - exact))));
}
