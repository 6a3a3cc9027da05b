import fc from "fast-check";
import { tensor, type FloatDType } from "@switchyard/tensor";
import { makeRouting } from "../routing/makeRouting.ts";
import type { TokenRouting } from "../routing/routing.ts";

type Count = number | fc.Arbitrary<number>;

export interface RoutingConstraints {
  readonly tokens: Count;
  readonly experts: Count;
  /** Choices a token; where it comes out above the number of experts, all of them are chosen. */
  readonly k: Count;
  /** `f32` by default. */
  readonly dtype?: FloatDType;
}

const drawn = (count: Count): fc.Arbitrary<number> => (typeof count === "number" ? fc.constant(count) : count);

/** Multiples of 1/4, so that experts tie often, and exactly in every dtype. */
const quarters = (rows: number, columns: number): fc.Arbitrary<number[][]> => {
  const row = fc.array(
    fc.integer({ min: -8, max: 8 }).map((n) => n / 4),
    { minLength: columns, maxLength: columns },
  );
  return fc.array(row, { minLength: rows, maxLength: rows });
};

/**
 * Records such as a noisy router makes in training, with every field that a loss may ask for: experts that nobody chooses,
 * experts that everybody chooses, ties, and padding up to all tokens. Shrinks towards logits of 0 without noise or mask; prints as code to paste.
 */
export const routing = ({ tokens, experts, k, dtype = "f32" }: RoutingConstraints): fc.Arbitrary<TokenRouting> =>
  fc.tuple(drawn(tokens), drawn(experts), drawn(k)).chain(([t, e, choices]) => {
    const favour = fc.constantFrom(0, 0, 0, -8, 8); // nobody's choice, everybody's choice
    const mask = fc.option(fc.array(fc.boolean(), { minLength: t, maxLength: t }));
    return fc
      .record({
        logits: quarters(t, e),
        noise: quarters(t, e),
        favours: fc.array(favour, { minLength: e, maxLength: e }),
        mask,
      })
      .map(({ logits, noise, favours, mask }) => {
        const favoured = logits.map((row) => row.map((x, i) => x + favours[i]));
        return recordOf({ logits: favoured, noise, mask, shape: [t, e, Math.min(choices, e)], dtype });
      });
  });

interface Draw {
  readonly logits: readonly number[][];
  readonly noise: readonly number[][];
  readonly mask: readonly boolean[] | null;
  /** T, E and k. */
  readonly shape: readonly [number, number, number];
  readonly dtype: FloatDType;
}

function recordOf({ logits, noise, mask, shape: [t, e, k], dtype }: Draw): TokenRouting {
  const noisy = logits.map((row, i) => row.map((x, j) => x + noise[i][j]));
  const choices = noisy.map((row) => bestOf(row, k));
  const weights = choices.map((chosen, i) => softmaxOf(chosen.map((expert) => noisy[i][expert])));
  const floats = (rows: readonly number[][], columns: number) => tensor(rows.flat(), { shape: [t, columns], dtype });
  const parts = {
    experts: tensor(choices.flat(), { shape: [t, k], dtype: "i32" }),
    weights: floats(weights, k),
    logits: floats(logits, e),
    ...(mask && { mask: tensor([...mask], { shape: [t], dtype: "bool" }) }),
  };
  const record: TokenRouting = {
    ...makeRouting(parts),
    noise: floats(noise, e),
    noiseStd: tensor(new Array<number>(t * e).fill(1), { shape: [t, e], dtype }),
    noisyLogits: floats(noisy, e),
  };
  const code = `makeRouting({ experts: tensor(${JSON.stringify(choices)}, { dtype: "i32" }), weights: tensor(${JSON.stringify(weights)}), logits: tensor(${JSON.stringify(logits)})${mask ? `, mask: tensor(${JSON.stringify(mask)})` : ""} })`;
  return Object.defineProperty(record, fc.toStringMethod, { value: () => code });
}

/** The k largest, largest first, ties to the lower index. */
const bestOf = (row: readonly number[], k: number): number[] =>
  [...row.keys()].toSorted((i, j) => row[j] - row[i] || i - j).slice(0, k);

function softmaxOf(row: readonly number[]): number[] {
  const powers = row.map((x) => Math.exp(x - Math.max(...row)));
  const total = powers.reduce((sum, x) => sum + x, 0);
  return powers.map((x) => x / total);
}
