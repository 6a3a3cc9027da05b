import { ConfigError, random, ShapeError, scope, term, type Key, type Tensor } from "@switchyard/tensor";
import {
  anObject,
  checkFloat,
  checkOptions,
  describe,
  flag,
  fullLike,
  oneOf,
  positiveInteger,
  requireOptions,
  sameShape,
  type Rules,
} from "@switchyard/tensor/graph";
import { combine, dispatch } from "../dispatch/dispatch.ts";
import type { RouteOptions, Router, Routing } from "../routing/routing.ts";
import { experts as expertNetworks, type Activation, type Experts, type ExpertsParams } from "./experts.ts";

export interface MoeOptions<P, R extends Routing, L extends string> {
  /** D, the width of what goes in and comes out. */
  readonly dim: number;
  /** H, the width inside an expert. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  readonly router: Router<P, R>;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** Whether experts have biases; true by default. */
  readonly bias?: boolean;
  /**
   * `dropless`, the default, computes each token's chosen experts only. `dense` computes every expert for every token and
   * weighs them with the gates: E / k times the work, and the plainest statement of what the layer means.
   */
  readonly dispatch?: "dropless" | "dense";
  /** Auxiliary losses of the routing, by name. */
  readonly losses?: { readonly [N in L]: (routing: NoInfer<R>) => Tensor };
}

export interface MoeParams<P> {
  readonly router: P;
  readonly experts: ExpertsParams;
}

export interface MoeResult<R extends Routing, L extends string> {
  /** The shape of x; zero for padding. */
  readonly output: Tensor;
  readonly routing: R;
  /** Each auxiliary loss, a `term` of its own name. */
  readonly losses: { readonly [N in L]: Tensor };
  /** The sum of the losses, 0 if there are none: add it to the task's loss. */
  readonly balance: Tensor;
}

export interface Moe<P, R extends Routing, L extends string> {
  init(key: Key): MoeParams<P>;
  /**
   * @param x `[…, D]`; all leading axes are tokens.
   * @param options for the router; `mask` and `tokenIds` have the leading axes of x.
   */
  apply(params: MoeParams<P>, x: Tensor, options?: RouteOptions): MoeResult<R, L>;
}

/**
 * A mixture of experts: `y = Σ_i gate_i(x) · expert_i(x)` over the experts that the router chose. The gate multiplies the
 * expert's output. Shapes depend on nothing that is computed, so nothing is read back.
 *
 * @throws {ConfigError} on a bad option.
 */
export function moe<P, R extends Routing, L extends string = never>(options: MoeOptions<P, R, L>): Moe<P, R, L> {
  checkOptions("moe", options, {
    dim: positiveInteger,
    hidden: positiveInteger,
    experts: positiveInteger,
    router: anObject,
    activation: oneOf("relu", "gelu", "silu", "swiglu"),
    bias: flag,
    dispatch: oneOf("dropless", "dense"),
    losses: anObject,
  });
  requireOptions("moe", options, "dim", "hidden", "experts", "router");
  const { dim, hidden, experts: count, router, activation, bias, dispatch: how = "dropless", losses } = options;
  const networks = expertNetworks({ dim, hidden, experts: count, activation, bias });
  const compute = how === "dense" ? denseMixture : sparseMixture;
  return {
    init(key) {
      const [routerKey, expertsKey] = random.split(key, 2);
      return { router: router.init(routerKey, { dim, experts: count }), experts: networks.init(expertsKey) };
    },
    apply(params, x, routeOptions = {}) {
      if (x.shape.at(-1) !== dim)
        throw new ShapeError(`moe: the last axis of x must be dim = ${dim} (got ${describe(x)})`);
      checkFloat("moe", x);
      checkOptions("moe: apply", routeOptions, routeRules);
      const tokens = x.reshape([x.size / dim, dim]); // [T, D]
      const routing = scope("router", () => router.route(params.router, tokens, flatOptions(routeOptions, x, tokens)));
      if (routing.gates.shape[1] !== count)
        throw new ConfigError(`moe: the router routes to ${routing.gates.shape[1]} experts but the layer has ${count}`);
      const output = scope("experts", () => compute(networks, params.experts, tokens, routing)).reshape(x.shape);
      return { output, routing, ...balanceOf(routing, losses, x) };
    },
  };
}

const sparseMixture = (networks: Experts, params: ExpertsParams, x: Tensor, routing: Routing): Tensor =>
  combine(networks.apply(params, dispatch(x, routing), routing), routing);

const denseMixture = (networks: Experts, params: ExpertsParams, x: Tensor, { gates }: Routing): Tensor =>
  networks.applyAll(params, x).mul(gates.transpose().expandDims(2)).sum(0); // [E, T, D] -> [T, D]

const routeRules: Rules<RouteOptions> = {
  train: flag,
  key: anObject,
  noise: anObject,
  mask: anObject,
  tokenIds: anObject,
};

/** The options with one entry a token where they have the leading axes of x. */
function flatOptions({ mask, tokenIds, ...rest }: RouteOptions, x: Tensor, tokens: Tensor): RouteOptions {
  const leading = x.shape.slice(0, -1);
  const flat = (name: string, t: Tensor): Tensor => {
    if (sameShape(t.shape, leading)) return t.reshape([tokens.shape[0]]);
    throw new ShapeError(
      `moe: ${name} must be [${leading}], one for each token of x (got ${describe(t)}, x ${describe(x)})`,
    );
  };
  return {
    ...rest,
    ...(mask && { mask: flat("mask", mask) }),
    ...(tokenIds && { tokenIds: flat("tokenIds", tokenIds) }),
  };
}

function balanceOf<R extends Routing, L extends string>(
  routing: R,
  losses: { readonly [N in L]: (routing: R) => Tensor } | undefined,
  x: Tensor,
): Pick<MoeResult<R, L>, "losses" | "balance"> {
  const entries = Object.entries<(routing: R) => Tensor>(losses ?? {});
  const terms = entries.map(([name, loss]) => [name, scope(name, () => term(name, loss(routing)))] as const);
  const zero = fullLike(x, 0, [], x.dtype);
  return {
    losses: Object.fromEntries(terms) as { [N in L]: Tensor },
    balance: terms.length === 0 ? zero : terms.map(([, loss]) => loss).reduce((sum, loss) => sum.add(loss)),
  };
}
