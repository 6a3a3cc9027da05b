/** Turns a generated kernel of a plan into launches. */
import type { LoopKernel, Stage } from "../../../schedule/plan.ts";
import { sizeOf } from "../../../shape.ts";
import type { EmitOptions } from "../assembler.ts";
import type { Launch, Lowered } from "../launch.ts";
import { build, type Built } from "./build.ts";
import { cutRows } from "./cut.ts";
import { emitNest } from "./emit.ts";
import type { Nest } from "./nest.ts";

/** The launches of a loop kernel: one, or two where long rows are reduced in pieces. */
export function lowerLoop(kernel: LoopKernel, options: EmitOptions): Lowered {
  if (sizeOf(kernel.outer) === 0) return { launches: [], temporaries: [] };
  const whole = build(sizeOf(kernel.row) === 0 ? withEmptyRow(kernel) : kernel);
  const cut = cutRows(kernel, whole);
  if (!cut) return { launches: [launchOf(whole, options)], temporaries: [] };
  return {
    launches: [launchOf(build(cut.pieces, cut.length), options), launchOf(build(cut.rest), options)],
    temporaries: cut.temporaries,
  };
}

/** A kernel whose row has no points reads nothing there: its views of the row may lead anywhere. */
function withEmptyRow(kernel: LoopKernel): LoopKernel {
  const stages = kernel.stages.map((stage): Stage => {
    if (stage.kind === "map") return stage.over === "row" ? { ...stage, body: [], stores: [] } : stage;
    return { ...stage, body: [{ op: "constant", dtype: stage.dtype, value: 0 }], value: 0 };
  });
  return { ...kernel, row: [0], stages };
}

function launchOf({ nest, words, tiles }: Built, options: EmitOptions): Launch {
  return { key: keyOf(nest, options), emit: () => emitNest(nest, options), args: words, tiles };
}

/** All that the module depends on, as text. */
const keyOf = (nest: Nest, { shared, relaxedMadd }: EmitOptions): string =>
  `loop ${Number(shared)}${Number(relaxedMadd)} ${textOf(nest)}`;

/** Plain data as text. JSON has no NaN, infinities or -0. */
export const textOf = (data: object): string =>
  JSON.stringify(data, (_, value: unknown) =>
    typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))
      ? `${Object.is(value, -0) ? "-0" : value}`
      : value,
  );
