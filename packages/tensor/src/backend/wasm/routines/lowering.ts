import { internal } from "../../../errors.ts";
import type { LoopKernel, Operand, Plan } from "../../../schedule/plan.ts";
import { sizeOf, stridesOf } from "../../../shape.ts";
import { deviceBytes, type DType, type Shape } from "../../../types.ts";
import { emitOptions, type Features } from "../features.ts";
import type { Routine } from "../kernels/kernel.ts";
import type { Launch, Lowered, Word } from "../launch.ts";
import type { FusedEpilogue } from "../loops/epilogue.ts";
import { lowerLoop } from "../loops/lower.ts";

/**
 * The launches of one kernel as they are put together. Arrays of its own stand beside the plan's buffers, numbered after them, so that
 * loops and routines read and write both alike.
 */
export interface Lowering {
  /** A contiguous array of this kernel's own. */
  array(dtype: DType, shape: Shape): Operand;
  loop(kernel: LoopKernel): void;
  /** Appends a routine's steps, the last with the epilogue. Its `temporary` is added here. */
  routine<Shape, P extends string, W extends string>(
    routine: Routine<Shape, P, W>,
    shape: Shape,
    pointers: Readonly<Record<Exclude<P, "temporary">, Pick<Operand, "buffer" | "view"> | undefined>>,
    epilogue?: FusedEpilogue,
  ): void;
  finish(): Lowered;
}

export function createLowering(plan: Plan, features: Features): Lowering {
  const launches: Launch[] = [];
  const temporaries: number[] = [];
  const planned = plan.buffers.length;
  const options = emitOptions(features);

  /** An array of our own is a temporary as a whole. */
  function resolve(word: Word, ofLoop: number): Word {
    if (word.kind === "temporary") return { kind: "temporary", index: word.index + ofLoop };
    if (word.kind !== "buffer" || word.buffer < planned) return word;
    if (word.offset !== 0) throw internal("a kernel's own array is read from its middle");
    return { kind: "temporary", index: word.buffer - planned };
  }

  return {
    array(dtype, shape) {
      const buffer = planned + temporaries.push(sizeOf(shape) * deviceBytes(dtype)) - 1;
      return { buffer, dtype, shape, view: { offset: 0, strides: stridesOf(shape) } };
    },
    loop(kernel) {
      const lowered = lowerLoop(kernel, options);
      const first = temporaries.length;
      temporaries.push(...lowered.temporaries);
      for (const launch of lowered.launches)
        launches.push({ ...launch, args: launch.args.map((word) => resolve(word, first)) });
    },
    routine(routine, shape, pointers, epilogue) {
      const extents: Record<string, number> = routine.extents(shape);
      const named: Record<string, Pick<Operand, "buffer" | "view"> | undefined> = pointers;
      const own = temporaries.push(routine.temporaryBytes(shape)) - 1;
      const args = routine.words.map((name): Word => {
        if (name in extents) return { kind: "int", value: extents[name] };
        if (name === "temporary") return { kind: "temporary", index: own };
        const at = named[name];
        return at
          ? resolve({ kind: "buffer", buffer: at.buffer, offset: at.view.offset }, 0)
          : { kind: "int", value: 0 };
      });
      args.push(...(epilogue?.words.map((word) => resolve(word, 0)) ?? []));
      for (const step of routine.steps) {
        const then = step === routine.steps.at(-1) ? epilogue : undefined;
        const key = `${routine.name}: ${step.name}${then ? ` ${then.key}` : ""}`;
        launches.push({ key, emit: () => step.emit(options, then), args, tiles: step.tiles(shape) });
      }
    },
    finish: () => ({ launches, temporaries }),
  };
}
