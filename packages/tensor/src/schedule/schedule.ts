import type { RunRequest } from "../backend/backend.ts";
import type { Storage } from "../runtime/storage.ts";
import { NeedsBuffer } from "./body.ts";
import { canonicalize, readRequest, type Request } from "./canonical.ts";
import { finishPlan } from "./finish.ts";
import { fuseOps, type Fused } from "./fuse.ts";
import type { Plan } from "./plan.ts";
import { chooseStored } from "./store.ts";

export interface ScheduleOptions {
  /** Off: every node gets a kernel and a buffer of its own, to test that fusion changes nothing. */
  readonly fuse?: boolean;
  /** The most buffers one kernel may touch. */
  readonly maxBuffers?: number;
}

/** A plan with what this run brings: the storages of its leaves and its numbers, by slot. */
export interface Scheduled {
  readonly plan: Plan;
  readonly leaves: readonly Storage[];
  readonly numbers: readonly number[];
}

/** Plans kept for reuse; the one used longest ago goes first. */
const cachedPlans = 256;

/**
 * A scheduler with a plan cache of its own. Equal graphs (scopes, marks, terms, closures and numbers apart) give the same plan
 * object, so that a backend can cache what it makes of it.
 */
export function createScheduler(options: ScheduleOptions = {}): (request: RunRequest) => Scheduled {
  const plans = new Map<string, Plan>();
  return ({ roots, donated }) => {
    const request = readRequest(roots, donated);
    const { key, leaves, numbers } = request;
    const plan = plans.get(key) ?? makePlan(request, donated, options);
    plans.delete(key);
    plans.set(key, plan);
    if (plans.size > cachedPlans) plans.delete(plans.keys().next().value!);
    return { plan, leaves, numbers };
  };
}

function makePlan(request: Request, donated: ReadonlySet<Storage>, options: ScheduleOptions): Plan {
  const { fuse = true, maxBuffers = 16 } = options;
  const { ops, roots, numbers } = canonicalize(request);
  const stored = chooseStored(ops, roots, fuse);
  const { leaves } = request;
  for (;;) {
    const fused = tryFuse(() => fuseOps(ops, stored, leaves.length, { fuse, maxBuffers }));
    if (!(fused instanceof NeedsBuffer) && fused.missing.size === 0)
      return finishPlan({ fused, leaves, roots, numbers, donated });
    // Storing one op can change how another is reached: rare, and each turn stores some more.
    for (const op of fused instanceof NeedsBuffer ? [fused.op] : fused.missing) stored.add(op);
  }
}

function tryFuse(fuse: () => Fused): Fused | NeedsBuffer {
  try {
    return fuse();
  } catch (error) {
    if (error instanceof NeedsBuffer) return error;
    throw error;
  }
}
