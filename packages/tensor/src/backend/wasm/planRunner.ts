import type { Plan } from "../../schedule/plan.ts";
import { deviceBytes } from "../../types.ts";
import type { Executor } from "./executor.ts";
import type { Features } from "./features.ts";
import type { Block } from "./freeLists.ts";
import { lower } from "./lower.ts";
import type { Heap } from "./memory.ts";
import type { Modules } from "./modules.ts";
import { compileProgram, type Program } from "./program.ts";

export interface PlanRun {
  readonly plan: Plan;
  /** By position among the plan's leaves. */
  readonly leaves: readonly Block[];
  readonly numbers: readonly number[];
}

export interface PlanResult {
  /** By position among the plan's roots. One may be the block of a leaf that it was written over. */
  readonly roots: readonly Block[];
  readonly done: Promise<void>;
}

export interface PlanRunner {
  /** Starts a plan and returns at once. @throws {DeviceError} if it does not fit. */
  readonly run: (run: PlanRun) => PlanResult;
}

export interface PlanRunnerOptions {
  readonly heap: Heap;
  readonly modules: Modules;
  readonly executor: Executor;
  readonly features: Features;
}

/** Compiles each plan once, and gives each run of it memory. */
export function createPlanRunner({ heap, modules, executor, features }: PlanRunnerOptions): PlanRunner {
  const programs = new WeakMap<Plan, Program>();

  function programOf(plan: Plan): Program {
    let program = programs.get(plan);
    if (!program) {
      program = compileProgram(plan, (kernel) => lower(kernel, plan, features), modules.numberOf, executor.threads);
      programs.set(plan, program);
    }
    return program;
  }

  function run({ plan, leaves, numbers }: PlanRun): PlanResult {
    const program = programOf(plan);
    const fresh: Block[] = [];
    const claim = (bytes: number): Block => {
      const block = heap.allocate(bytes, "program");
      fresh.push(block);
      return block;
    };
    const leafOf = (buffer: number): Block => {
      const { source } = plan.buffers[buffer];
      return leaves[source.kind === "leaf" ? source.index : -1];
    };
    const roots: Block[] = [];
    const place = (buffer: number): number => {
      const { source, size, dtype } = plan.buffers[buffer];
      if (source.kind === "temporary") return 0;
      if (source.kind === "leaf") return leafOf(buffer).address;
      const block = source.reuses === undefined ? claim(size * deviceBytes(dtype)) : leafOf(source.reuses);
      roots[source.index] = block;
      return block.address;
    };
    try {
      const buffers = [...plan.buffers.keys()].map(place);
      const arena = program.arenaBytes > 0 ? claim(program.arenaBytes) : undefined;
      const done = executor.submit(program, { buffers, arena: arena?.address ?? 0, numbers });
      // Programs run in order, so the next one may have it at once.
      if (arena) executor.free(arena);
      return { roots, done };
    } catch (error) {
      for (const block of fresh) executor.free(block);
      throw error;
    }
  }

  return { run };
}
