/** Turns a generated kernel of a plan into launches. */
import { internal } from "../../../errors.ts";
import type { LoopKernel } from "../../../schedule/plan.ts";
import { sizeOf, stridesOf } from "../../../shape.ts";
import { deviceBytes } from "../../../types.ts";
import type { EmitOptions } from "../assembler.ts";
import type { Launch, Lowered } from "../launch.ts";
import { build, type Built } from "./build.ts";
import { emitNest } from "./emit.ts";
import type { Nest } from "./nest.ts";

/** The launches of a loop kernel: one, or two where long rows are reduced in pieces. */
export function lowerLoop(kernel: LoopKernel, options: EmitOptions): Lowered {
  if (sizeOf(kernel.outer) === 0) return { launches: [], temporaries: [] };
  const whole = build(kernel);
  return { launches: [launchOf(whole, options)], temporaries: [] };
}

function launchOf({ nest, words, tiles }: Built, options: EmitOptions): Launch {
  return { key: keyOf(nest, options), emit: () => emitNest(nest, options), args: words, tiles };
}

/** All that the module depends on, as text. JSON has no NaN, infinities or -0. */
function keyOf(nest: Nest, { shared, relaxedMadd }: EmitOptions): string {
  const text = JSON.stringify(nest, (_, value: unknown) =>
    typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))
      ? `${Object.is(value, -0) ? "-0" : value}`
      : value,
  );
  return `loop ${Number(shared)}${Number(relaxedMadd)} ${text}`;
}
