import { ConfigError, ShapeError } from "@switchyard/tensor";
import { describe } from "@switchyard/tensor/graph";
import type { Router, Routing } from "./routing.ts";

/**
 * A router without parameters that answers with a record made before, mask and all: to replay one run's choices in another, or to try
 * experts under a routing of one's own.
 *
 * @throws {ConfigError} from `init`, if the record has another number of experts; from `route`, if a mask is given that the record lacks.
 * @throws {ShapeError} from `route`, if the record has another number of tokens.
 */
export const forced = <R extends Routing>(routing: R): Router<object, R> => ({
  init(_key, { experts }) {
    const [recorded] = routing.counts.shape;
    if (recorded !== experts)
      throw new ConfigError(`forced: the record routes to ${recorded} experts but the layer has ${experts}`);
    return {};
  },
  route(_params, x, { mask } = {}) {
    const [tokens] = routing.gates.shape;
    if (x.shape[0] !== tokens)
      throw new ShapeError(`forced: the record routes ${tokens} tokens but x has ${x.shape[0]} (got ${describe(x)})`);
    if (mask && !routing.mask)
      throw new ConfigError(
        "forced: the record was made without a mask; make it with the mask, makeRouting({ …, mask })",
      );
    return routing;
  },
});
