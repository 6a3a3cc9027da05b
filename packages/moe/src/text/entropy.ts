/** Entropies of a text, in nats per token. */
export interface TextEntropies {
  /** Of a token on its own. */
  readonly unigram: number;
  /** Of a token, once the one before it is known. */
  readonly bigram: number;
}

/**
 * What the best table of single tokens, and of pairs, would lose on a text that it has counted itself: plug-in estimates, so a
 * little too low. A language model below `bigram` on text that it has not seen has learned more than which token follows which.
 *
 * @param size of the vocabulary.
 */
export function textEntropies(ids: Int32Array, size: number): TextEntropies {
  const single = new Float64Array(size);
  const first = new Float64Array(size);
  const pair = new Float64Array(size * size);
  for (let i = 0; i < ids.length; i++) {
    single[ids[i]]++;
    if (i === 0) continue;
    first[ids[i - 1]]++;
    pair[ids[i - 1] * size + ids[i]]++;
  }
  return { unigram: entropyOf(single), bigram: entropyOf(pair) - entropyOf(first) };
}

/** Of the distribution that counts make. */
function entropyOf(counts: Float64Array): number {
  const total = counts.reduce((sum, n) => sum + n, 0);
  let entropy = 0;
  for (const n of counts) if (n > 0) entropy -= (n / total) * Math.log(n / total);
  return entropy;
}
