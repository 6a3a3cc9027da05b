import type { Routing } from "../../routing/routing.ts";

/** One routing as plain numbers, real tokens only: what the checks look at. */
export interface Observed {
  /** Which of the routings it is. */
  readonly layer: number;
  readonly tokens: number;
  readonly experts: number;
  /** Choices of a token; on average, where experts choose. */
  readonly k: number;
  /** Pairs that asked for each expert. */
  readonly requested: readonly number[];
  /** The share of pairs that found no place. */
  readonly dropped: number;
  /** `[T][k]`, before anything was dropped where that can be told; absent where experts choose. */
  readonly weights?: readonly (readonly number[])[];
  /** `[T][E]`; absent if the router has none. */
  readonly logits?: readonly (readonly number[])[];
  /** `[T][E]`. */
  readonly probs: readonly (readonly number[])[];
}

/** Reads routings, all in one go. */
export const observe = (routings: readonly Routing[]): Promise<Observed[]> => Promise.all(routings.map(observeOne));

async function observeOne(routing: Routing, layer: number): Promise<Observed> {
  const rows = async (name: "weights" | "logits" | "probs"): Promise<number[][] | undefined> =>
    (await routing[name]?.toArray()) as number[][] | undefined;
  const [requested, counts, weights, logits, probs, mask] = await Promise.all([
    routing.requested.toArray() as Promise<number[]>,
    routing.counts.toArray() as Promise<number[]>,
    rows("weights"),
    rows("logits"),
    rows("probs"),
    routing.mask?.data(),
  ]);
  const real = <T>(list: readonly T[] | undefined): readonly T[] | undefined =>
    mask ? list?.filter((_, t) => mask[t] !== 0) : list;
  const tokens = real(probs)!.length;
  const [asked, served] = [requested, counts].map((list) => list.reduce((sum, n) => sum + n, 0));
  const [kept, told] = [real(weights), real(logits)];
  return {
    layer,
    tokens,
    experts: requested.length,
    k: routing.experts?.shape[1] ?? asked / Math.max(tokens, 1),
    requested,
    dropped: asked === 0 ? 0 : 1 - served / asked,
    ...(kept && { weights: kept }),
    ...(told && { logits: told }),
    probs: real(probs)!,
  };
}
