import type { LoopKernel, Stage } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { bodyLines, storeLines, type Site } from "./body.ts";
import { shaderFor, type Limits, type Lowered, type Lowering } from "./lower.ts";
import { arrange, lowerRows, type RowKernel } from "./rows.ts";
import { workgroupSize, type Dispatch, type Shader } from "./shader.ts";
import { isOuter, mergeLoop, splitPosition } from "./space.ts";
import { totalOf, wordsOf } from "./totals.ts";

/** A generated kernel: elementwise, by rows, or, where rows are few and long, in two passes over fixed pieces of them. */
export function lowerLoop(kernel: LoopKernel, lowering: Lowering): Lowered {
  const merged = mergeLoop(kernel);
  if (sizeOf(merged.outer) === 0) return [];
  if (merged.stages.every(isOuter)) return [lowerElements(merged, lowering)];
  const split = splitRows(merged, lowering);
  return split ? split.map((part) => lowerRows(part, lowering)) : [lowerRows(merged, lowering)];
}

/** One invocation per point. */
function lowerElements({ name, outer, stages }: LoopKernel, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const size = sizeOf(outer);
  const { lines, names } = splitPosition(shader, "i", outer, "c");
  const bodies = stages.map((s, at) => mapLines(shader, s, { coordinates: names, prefix: `v${at}_` }));
  const main = `let i = group * ${workgroupSize}u + local;
if (i >= ${shader.uint(size)}) { return; }
${lines.join("\n")}
${bodies.join("\n")}`;
  return shader.finish(name, main, Math.ceil(size / workgroupSize));
}

function mapLines(shader: Shader, stage: Stage, site: Site): string {
  const stores = stage.kind === "map" ? stage.stores : [];
  return [...bodyLines(shader, stage.body, site), ...storeLines(shader, stores, stage.body, site)].join("\n");
}

/** Fewer workgroups than this leave an adapter idle. */
const manyGroups = ({ serial }: Limits): number => (serial ? 16 : 256);
/** The least work of one invocation that a second pass is worth. */
const leastSteps = 16;

/** A reduction of few long rows as one of many pieces, and one of the pieces' results. */
function splitRows(kernel: LoopKernel, lowering: Lowering): RowKernel[] | undefined {
  const [first, ...rest] = kernel.stages;
  if (first.kind !== "reduce" || rest.some((s) => s.kind === "reduce" || s.over === "row")) return undefined;
  const { lanes, columns } = arrange(kernel, lowering.limits);
  const length = sizeOf(kernel.row);
  const groups = Math.ceil(sizeOf(kernel.outer) / columns);
  const pieces = Math.min(Math.ceil(manyGroups(lowering.limits) / groups), Math.floor(length / (lanes * leastSteps)));
  if (pieces < 2) return undefined;
  const points = sizeOf(kernel.outer);
  const buffer = lowering.scratch(points * pieces * 4 * wordsOf(totalOf(first.op, first.dtype).type));
  // Whole fours, for adapters that walk by them.
  const size = Math.ceil(length / pieces / 4) * 4;
  return [
    { ...kernel, stages: [first], pieces: { count: pieces, size, buffer } },
    { ...kernel, row: [pieces], totals: buffer },
  ];
}
