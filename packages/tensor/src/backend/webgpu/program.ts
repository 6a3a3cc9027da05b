import type { Plan, PlanBuffer } from "../../schedule/plan.ts";
import { roundToHalf } from "../../half.ts";
import { deviceBytes, isFloat, type DType } from "../../types.ts";
import type { Limits } from "./lower.ts";
import { capacityOf } from "./pool.ts";
import { lowerKernel } from "./routines.ts";
import type { Dispatch } from "./shader.ts";

/** A plan made ready for the device: everything that does not change from run to run. */
export interface Program {
  readonly dispatches: readonly Dispatch[];
  /** The plan's kernel that each dispatch is part of. */
  readonly kernels: readonly number[];
  /** The bytes of each piece of scratch memory; what is not needed at one time shares a piece. */
  readonly slots: readonly number[];
  /** By name of a temporary (a plan's buffer, or a kernel's own below 0), its piece. */
  readonly slotOf: ReadonlyMap<number, number>;
  readonly parameters: Parameters;
}

/** The parameters of all dispatches, one after the other, each where a dynamic offset may point. */
export interface Parameters {
  readonly words: Int32Array;
  /** In bytes, by dispatch. */
  readonly offsets: readonly number[];
  /** Where this run's numbers go. */
  readonly numbers: readonly { readonly at: number; readonly slot: number; readonly dtype: DType }[];
}

export interface Constraints extends Limits {
  /** What dynamic offsets must be multiples of, in bytes. */
  readonly alignment: number;
}

/** In whole words, which is what can be copied. */
export const bytesOf = ({ size, dtype }: Pick<PlanBuffer, "size" | "dtype">): number =>
  Math.max(Math.ceil((size * deviceBytes(dtype)) / 4) * 4, 16);

/** Memory that a plan needs while kernels `from` to `until` run. */
interface Span {
  readonly name: number;
  readonly bytes: number;
  readonly from: number;
  readonly until: number;
}

export function makeProgram(plan: Plan, { alignment, ...limits }: Constraints): Program {
  const dispatches: Dispatch[] = [];
  const kernels: number[] = [];
  const spans: Span[] = plan.buffers.flatMap((buffer, name) =>
    buffer.source.kind === "temporary"
      ? [{ name, bytes: bytesOf(buffer), from: buffer.source.from, until: buffer.source.until }]
      : [],
  );
  const canonical = (name: number): number => {
    const source = name < 0 ? undefined : plan.buffers[name].source;
    return source?.kind === "root" ? (source.reuses ?? name) : name;
  };
  let scratches = 0;
  plan.kernels.forEach((kernel, at) => {
    const scratch = (bytes: number): number => {
      const name = -1 - scratches++;
      spans.push({ name, bytes: Math.max(bytes, 16), from: at, until: at });
      return name;
    };
    const lowered = lowerKernel(kernel, { canonical, scratch, limits });
    dispatches.push(...lowered);
    kernels.push(...lowered.map(() => at));
  });
  return { dispatches, kernels, ...shareMemory(spans), parameters: layOut(dispatches, alignment) };
}

/** Gives each span a piece of memory that is free while it lives, of the same capacity class. */
function shareMemory(spans: readonly Span[]): Pick<Program, "slots" | "slotOf"> {
  const slots: { capacity: number; until: number }[] = [];
  const slotOf = new Map<number, number>();
  for (const { name, bytes, from, until } of spans.toSorted((a, b) => a.from - b.from)) {
    const capacity = capacityOf(bytes);
    let at = slots.findIndex((slot) => slot.capacity === capacity && slot.until < from);
    if (at < 0) at = slots.push({ capacity, until }) - 1;
    slots[at].until = until;
    slotOf.set(name, at);
  }
  return { slots: slots.map((slot) => slot.capacity), slotOf };
}

function layOut(dispatches: readonly Dispatch[], alignment: number): Parameters {
  const offsets: number[] = [];
  let end = 0;
  for (const { words } of dispatches) {
    offsets.push(end);
    end += Math.ceil((Math.max(words.length, 1) * 4) / alignment) * alignment;
  }
  const all = new Int32Array(end / 4);
  const numbers: { at: number; slot: number; dtype: DType }[] = [];
  dispatches.forEach(({ words }, i) => {
    words.forEach((word, j) => {
      const at = offsets[i] / 4 + j;
      if (typeof word === "number") all[at] = word;
      else numbers.push({ at, ...word });
    });
  });
  return { words: all, offsets, numbers };
}

/** The parameters with this run's numbers in place. */
export function fillParameters(
  { words, numbers: places }: Parameters,
  numbers: readonly number[],
): Int32Array<ArrayBuffer> {
  const filled = new Int32Array(words);
  const floats = new Float32Array(filled.buffer);
  for (const { at, slot, dtype } of places) {
    if (isFloat(dtype)) floats[at] = dtype === "f16" ? roundToHalf(numbers[slot]) : numbers[slot];
    else filled[at] = dtype === "bool" ? Number(numbers[slot] !== 0) : numbers[slot];
  }
  return filled;
}
