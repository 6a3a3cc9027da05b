import {
  ConfigError,
  groupedMatmul,
  random,
  scatter,
  scope,
  softmax,
  topK,
  zeros,
  zerosLike,
  type Tensor,
} from "@switchyard/tensor";
import { checkOptions, iotaLike, nonNegative, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { dispatch } from "../dispatch/dispatch.ts";
import { spread } from "../dispatch/permute.ts";
import { checkChoices } from "./checks.ts";
import { choose, place } from "./choose.ts";
import { asRouterLogits, drawingKey } from "./gate.ts";
import { makeRouting } from "./makeRouting.ts";
import { noisyTopK, type NoisyTopKParams } from "./noisyTopK.ts";
import type { LogitRouting, RouteOptions, Router, TokenRouting } from "./routing.ts";

export interface HierarchicalTopKOptions {
  /** Into how many groups, of neighbours, experts fall. */
  readonly groups: number;
  /** Groups that a token is sent to. */
  readonly topGroups: number;
  /** Experts that a token is sent to in each of its groups. */
  readonly k: number;
  /** The least standard deviation of the noise; 1e-2 by default. */
  readonly noiseEpsilon?: number;
}

export interface HierarchicalTopKParams {
  /** Of the groups. */
  readonly primary: NoisyTopKParams;
  /** Of the experts in each group. */
  readonly secondary: {
    /** `[groups, D, E / groups]`. */
    readonly gate: Tensor;
    /** `[groups, D, E / groups]`. */
    readonly noise: Tensor;
  };
}

/** The record of a hierarchy, with that of each level. */
export interface HierarchicalRouting extends TokenRouting {
  /** Tokens to groups. */
  readonly primary: LogitRouting;
  /** Slots of the primary record to the experts of their group: `T · topGroups` rows, `E / groups` experts. */
  readonly secondary: LogitRouting;
}

/**
 * Noisy top-k in two levels: of groups, then of the experts in each chosen group, whose gate alone is computed. The weight of an expert is
 * the product of its group's and its own. `probs` are products of softmaxes too, 0 in groups that were not chosen.
 *
 * Source: Shazeer et al. 2017, appendix B. The importance of the record's gates is theirs; for the load see `hierarchicalLoad`.
 *
 * @throws {ConfigError} on a bad option; from `init`, if the groups do not divide the experts; from `route`, in training without
 * `key`, or with noise of one's own, of which a hierarchy needs two.
 */
export function hierarchicalTopK(
  options: HierarchicalTopKOptions,
): Router<HierarchicalTopKParams, HierarchicalRouting> {
  checkOptions("hierarchicalTopK", options, {
    groups: positiveInteger,
    topGroups: positiveInteger,
    k: positiveInteger,
    noiseEpsilon: nonNegative,
  });
  requireOptions("hierarchicalTopK", options, "groups", "topGroups", "k");
  const { groups, topGroups, k, noiseEpsilon = 1e-2 } = options;
  const groupRouter = noisyTopK({ k: topGroups, noiseEpsilon });
  return {
    init(key, { dim, experts }) {
      if (experts % groups !== 0)
        throw new ConfigError(`hierarchicalTopK: ${groups} groups do not divide ${experts} experts; choose a divisor`);
      const size = experts / groups;
      checkChoices("hierarchicalTopK", k, size);
      return {
        primary: groupRouter.init(key, { dim, experts: groups }),
        secondary: { gate: zeros([groups, dim, size]), noise: zeros([groups, dim, size]) },
      };
    },
    route(params, x, routeOptions = {}) {
      const { train = false, noise, mask } = routeOptions;
      if (noise) throw new ConfigError("hierarchicalTopK: draws noise for both levels; give a key instead of noise");
      const key = train ? drawingKey("hierarchicalTopK", "training draws noise and needs", routeOptions) : undefined;
      const [primaryKey, secondaryKey] = key ? random.split(key) : [];
      // Scopes like the parameters, so that explainRouter finds the gate of each level.
      const primary = scope("primary", () => groupRouter.route(params.primary, x, { train, key: primaryKey, mask }));
      const secondary = scope("secondary", () =>
        routeInGroups(params.secondary, dispatch(x, primary), primary, { k, noiseEpsilon, key: secondaryKey }),
      );
      return { ...joined(primary, secondary, mask), primary, secondary };
    },
  };
}

/** Routes the rows of each group to the experts of that group. */
function routeInGroups(
  { gate, noise }: HierarchicalTopKParams["secondary"],
  rows: Tensor,
  { offsets, slots }: LogitRouting,
  { k, noiseEpsilon, key }: Pick<HierarchicalTopKOptions, "k" | "noiseEpsilon"> & Pick<RouteOptions, "key">,
): LogitRouting {
  const logits = asRouterLogits(groupedMatmul(rows, gate, offsets)); // [N, E / groups]
  const draw = key && random.normal(key, logits.shape).cast(logits.dtype);
  const noiseStd = draw ? groupedMatmul(rows, noise, offsets).softplus().add(noiseEpsilon!) : zerosLike(logits);
  const noisyLogits = draw ? logits.add(draw.mul(noiseStd)) : logits;
  const { indices } = topK(noisyLogits, k);
  const weights = softmax(choose(noisyLogits, indices), -1);
  const routing = makeRouting({ experts: indices, weights, logits, mask: slots.live });
  return { ...routing, ...(draw && { noise: draw }), noiseStd, noisyLogits };
}

/** The record over all experts: every choice of a group by every choice in it, the greatest weight first. */
function joined(primary: LogitRouting, secondary: LogitRouting, mask: Tensor | undefined): TokenRouting {
  const [tokens, topGroups] = primary.experts.shape;
  const [, size] = secondary.gates.shape;
  const pairs = tokens * topGroups;
  const count = primary.gates.shape[1] * size;
  const rows = primary.rows.reshape([pairs]); // the slot of each pair
  const pairOf = scatter(iotaLike(rows, [pairs], 0, "i32"), rows, [pairs], { op: "set", unique: true }); // and back
  /** A field of the secondary record, by token and group: `[N, n] -> [T, topGroups, n]`. */
  const byToken = (field: Tensor): Tensor =>
    spread(field, rows, pairOf.reshape([pairs, 1])).reshape([tokens, topGroups, field.shape[1]]);
  const begins = primary.experts.mul(size).expandDims(2);
  const flat = (t: Tensor): Tensor => t.reshape([tokens, topGroups * t.shape[2]]);
  const experts = flat(secondary.experts.gather(primary.rows, 0).add(begins));
  const weights = flat(byToken(secondary.weights).mul(primary.weights.expandDims(2)));
  const order = weights.stopGradient().argsort(-1, { descending: true });
  const members = flat(iotaLike(begins, [1, 1, size], 2, "i32").add(begins)); // [T, topGroups · size]
  const shares = byToken(secondary.probs).mul(choose(primary.probs, primary.experts).expandDims(2));
  return makeRouting({
    experts: experts.takeAlongAxis(order),
    weights: choose(weights, order),
    probs: place(flat(shares), members, count),
    mask,
  });
}
