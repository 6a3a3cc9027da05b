import type { RunRequest } from "../backend/backend.ts";
import { internal } from "../errors.ts";
import type { Storage } from "../runtime/storage.ts";
import type { Plan } from "./plan.ts";

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

/**
 * A scheduler with a plan cache of its own. Equal graphs (scopes, marks, terms, closures and numbers apart) give the same plan
 * object, so that a backend can cache what it makes of it.
 */
export function createScheduler(_options: ScheduleOptions = {}): (request: RunRequest) => Scheduled {
  return () => {
    throw internal("not written yet");
  };
}
