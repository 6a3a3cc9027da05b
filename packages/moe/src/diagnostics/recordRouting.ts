import { ConfigError, tensor, type DeviceName } from "@switchyard/tensor";
import { makeRouting } from "../routing/makeRouting.ts";
import type { Routing, TokenRouting } from "../routing/routing.ts";

/** A routing as plain numbers, which JSON holds exactly: to keep, to look at, to replay. */
export interface RoutingRecord {
  readonly expertCount: number;
  /** `[T][k]`. */
  readonly experts: readonly (readonly number[])[];
  /** `[T][k]`; 0 for padding and dropped pairs. */
  readonly weights: readonly (readonly number[])[];
  /** Real tokens; absent if all are. */
  readonly mask?: readonly boolean[];
  /** Pairs that found no place; absent if there are none. */
  readonly dropped?: readonly (readonly boolean[])[];
}

/**
 * Reads a routing, in one go.
 *
 * @throws {ConfigError} where experts chose tokens.
 */
export async function recordRouting({ experts, weights, dropped, mask, gates }: Routing): Promise<RoutingRecord> {
  if (!experts || !weights || !dropped)
    throw new ConfigError("recordRouting: needs a router whose tokens choose experts");
  const [chosen, by, gone, real] = await Promise.all([
    experts.toArray() as Promise<number[][]>,
    weights.toArray() as Promise<number[][]>,
    dropped.toArray() as Promise<unknown[][]>,
    mask?.toArray() as Promise<unknown[]> | undefined,
  ]);
  const lost = gone.map((row) => row.map(Boolean));
  return {
    expertCount: gates.shape[1],
    experts: chosen,
    weights: by,
    ...(real && { mask: real.map(Boolean) }),
    ...(lost.flat().some(Boolean) && { dropped: lost }),
  };
}

/**
 * A record as a routing again: `forced(replayRouting(record))` is a router that answers with it.
 *
 * @throws {ConfigError | ShapeError} if the record's parts do not fit together.
 */
export function replayRouting(
  { expertCount, experts, weights, mask, dropped }: RoutingRecord,
  { device }: { readonly device?: DeviceName } = {},
): TokenRouting {
  const shape = [experts.length, experts[0]?.length ?? 0];
  const pairs = (rows: readonly (readonly (number | boolean)[])[], dtype: "i32" | "f32" | "bool") =>
    tensor(rows.flat().map(Number), { shape, dtype, device });
  return makeRouting({
    expertCount,
    experts: pairs(experts, "i32"),
    weights: pairs(weights, "f32"),
    ...(mask && { mask: tensor(mask.map(Number), { dtype: "bool", device }) }),
    ...(dropped && { dropped: pairs(dropped, "bool") }),
  });
}
