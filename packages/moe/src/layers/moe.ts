import {
  ConfigError,
  mark,
  random,
  ShapeError,
  scope,
  term,
  type DType,
  type Key,
  type Tensor,
} from "@switchyard/tensor";
import { treeLeaves } from "@switchyard/autograd";
import {
  anObject,
  checkFloat,
  checkOptions,
  describe,
  flag,
  fraction,
  fullLike,
  isFloat,
  positiveInteger,
  requireOptions,
  sameShape,
  wholeNumber,
  type Rule,
  type Rules,
} from "@switchyard/tensor/graph";
import { checkCapacity, type CapacityOptions } from "../dispatch/capacity.ts";
import { combine, dispatch } from "../dispatch/dispatch.ts";
import { withCapacity } from "../dispatch/withCapacity.ts";
import { onlyReal } from "../losses/overTokens.ts";
import { drawingKey } from "../routing/gate.ts";
import { checkMask } from "../routing/makeRouting.ts";
import type { RouteOptions, Router, Routing } from "../routing/routing.ts";
import {
  activationRule,
  experts as expertNetworks,
  type Activation,
  type Experts,
  type ExpertsParams,
} from "./experts.ts";
import { feedForward, type FeedForwardParams } from "./feedForward.ts";
import { checkTensor } from "./linear.ts";

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
   * weighs them with the gates: E / k times the work, and the plainest statement of what the layer means. A capacity drops what an
   * expert has no room for: see `withCapacity`.
   */
  readonly dispatch?: "dropless" | "dense" | CapacityOptions;
  /** Experts that every token goes through, unweighted; none by default. Together they are one network of so many times the width. */
  readonly sharedExperts?: number;
  /** In training, the share of the values inside the routed experts that dropout zeroes; 0 by default. */
  readonly expertDropout?: number;
  /** Auxiliary losses of the routing, by name. */
  readonly losses?: { readonly [N in L]: (routing: NoInfer<R>) => Tensor };
}

export interface MoeParams<P> {
  readonly router: P;
  readonly experts: ExpertsParams;
  /** If there are any: one network, `sharedExperts · H` wide. */
  readonly shared?: FeedForwardParams;
}

export interface MoeResult<R extends Routing, L extends string> {
  /** The shape of x; zero for padding. */
  readonly output: Tensor;
  /** What experts saw: with a capacity, less than the router decided. */
  readonly routing: R;
  /** Each auxiliary loss, a `term` of its own name, of what the router decided. */
  readonly losses: { readonly [N in L]: Tensor };
  /** The sum of the losses, 0 if there are none: add it to the task's loss. */
  readonly balance: Tensor;
}

export interface Moe<P, R extends Routing, L extends string> {
  init(key: Key): MoeParams<P>;
  /**
   * @param x `[…, D]`; all leading axes are tokens.
   * @param options for the router; `mask` and `tokenIds` have the leading axes of x. Training with expert dropout, or a capacity that
   * serves in random order, needs `key` too.
   */
  apply(params: MoeParams<P>, x: Tensor, options?: RouteOptions): MoeResult<R, L>;
}

/**
 * A mixture of experts: `y = shared(x) + Σ_i gate_i(x) · expert_i(x)` over the experts that the router chose. The gate multiplies the
 * expert's output. Shapes depend on nothing that is computed, so nothing is read back.
 *
 * @throws {ConfigError} on a bad option.
 */
export function moe<P, R extends Routing, L extends string = never>(options: MoeOptions<P, R, L>): Moe<P, R, L> {
  checkMoe(options);
  const { dim, hidden, experts: count, router, activation, bias, losses } = options;
  const { dispatch: how = "dropless", sharedExperts = 0, expertDropout = 0 } = options;
  const networks = expertNetworks({ dim, hidden, experts: count, activation, bias, dropout: expertDropout });
  const shared = sharedExperts > 0 && feedForward({ dim, hidden: sharedExperts * hidden, activation, bias });
  const compute = how === "dense" ? denseMixture : sparseMixture;
  return {
    init(key) {
      const [routerKey, expertsKey] = random.split(key, 2);
      return {
        router: router.init(routerKey, { dim, experts: count }),
        experts: networks.init(expertsKey),
        ...(shared && { shared: shared.init(random.fold(key, 2)) }),
      };
    },
    apply(params, x, routeOptions = {}) {
      checkInput(x, dim, routeOptions);
      const given = flatOptions(routeOptions, x);
      checkMask("moe", given.mask, x.size / dim);
      // Padding may hold anything: a gradient of zero times NaN would be NaN.
      const tokens = onlyReal(x.reshape([x.size / dim, dim]), given.mask); // [T, D]
      const decided = scope("router", () => router.route(params.router, tokens.cast(dtypeOf(params.router, x)), given));
      if (decided.gates.shape[1] !== count)
        throw new ConfigError(`moe: the router routes to ${decided.gates.shape[1]} experts but the layer has ${count}`);
      const routing = typeof how === "object" ? limited(decided, how, given) : decided;
      const key = expertDropout > 0 ? dropoutKey(given) : undefined;
      let output = scope("experts", () => compute(networks, params.experts, tokens, routing, key));
      if (shared) {
        const same = scope("shared", () => shared.apply(params.shared!, tokens));
        output = output.add(onlyReal(same, given.mask));
      }
      return { output: output.reshape(x.shape), routing, ...balanceOf(decided, losses, x) };
    },
  };
}

const dispatchRule: Rule = {
  must: 'one of "dropless", "dense", or a capacity such as { capacityFactor: 1.25 }',
  holds: (value) => value === "dropless" || value === "dense" || anObject.holds(value),
};

function checkMoe<P, R extends Routing, L extends string>(options: MoeOptions<P, R, L>): void {
  checkOptions("moe", options, {
    dim: positiveInteger,
    hidden: positiveInteger,
    experts: positiveInteger,
    router: anObject,
    activation: activationRule,
    bias: flag,
    dispatch: dispatchRule,
    sharedExperts: wholeNumber,
    expertDropout: fraction,
    losses: anObject,
  });
  requireOptions("moe", options, "dim", "hidden", "experts", "router");
  if (typeof options.dispatch === "object") checkCapacity("moe: dispatch", options.dispatch);
}

function checkInput(x: Tensor, dim: number, routeOptions: RouteOptions): void {
  checkTensor("moe", x);
  if (x.shape.at(-1) !== dim) throw new ShapeError(`moe: the last axis of x must be dim = ${dim} (got ${describe(x)})`);
  checkFloat("moe", x);
  checkOptions("moe: apply", routeOptions, routeRules);
}

/** What a router computes in: the dtype of its own parameters, or of x if it has none. */
const dtypeOf = (params: unknown, x: Tensor): DType =>
  treeLeaves(params).find(({ dtype }) => isFloat(dtype))?.dtype ?? x.dtype;

type Mixture = (networks: Experts, params: ExpertsParams, x: Tensor, routing: Routing, key: Key | undefined) => Tensor;

const sparseMixture: Mixture = (networks, params, x, routing, key) =>
  combine(networks.apply(params, dispatch(x, routing), routing, key), routing);

const denseMixture: Mixture = (networks, params, x, { gates }, key) =>
  networks
    .applyAll(params, x, key)
    .mul(mark("combine", gates).cast(x.dtype).transpose().expandDims(2)) // [E, T, D]
    .sum(0);

/** What experts have room for. An order drawn at random is another one each step, and in evaluation always the same. */
function limited<R extends Routing>(routing: R, capacity: CapacityOptions, { train, key }: RouteOptions): R {
  if (!routing.experts)
    throw new ConfigError("moe: dispatch: a capacity needs a router whose tokens choose experts; this one has its own");
  const drawn = key ? random.fold(key, 1) : train ? undefined : random.key(0, { device: routing.gates.device });
  return withCapacity(routing, capacity, drawn);
}

/** The key of expert dropout in training; none in evaluation. */
const dropoutKey = (options: RouteOptions): Key | undefined =>
  options.train
    ? random.fold(drawingKey("moe", "expert dropout is drawn in training and needs", options), 2)
    : undefined;

const routeRules: Rules<RouteOptions> = {
  train: flag,
  key: anObject,
  noise: anObject,
  mask: anObject,
  tokenIds: anObject,
};

/** The options with one entry a token where they have the leading axes of x. */
function flatOptions({ mask, tokenIds, ...rest }: RouteOptions, x: Tensor): RouteOptions {
  const leading = x.shape.slice(0, -1);
  const flat = (name: string, t: Tensor): Tensor => {
    if (sameShape(t.shape, leading)) return t.reshape([t.size]);
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
