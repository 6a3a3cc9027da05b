import type { RoutineKernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { laneFolder } from "./fold.ts";
import { powerAtLeast, shaderFor, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize } from "./shader.ts";
import { elementType, orderKey } from "./wgsl.ts";

type ArgReduce = Extract<RoutineKernel, { op: "argReduce" }>;

/** Rows folded by lanes, as reductions are, on keys whose order is that of the elements; NaN has the largest. */
export function lowerArgReduce({ name, attrs, operands, epilogue }: ArgReduce, lowering: Lowering): Lowered {
  const [x] = operands;
  const length = x.shape[x.shape.length - 1];
  const rows = sizeOf(x.shape.slice(0, -1));
  if (rows === 0) return [];
  const shader = shaderFor(lowering);
  const lanes = lowering.limits.serial ? 1 : Math.min(powerAtLeast(Math.ceil(length / 2)), workgroupSize);
  const from = shader.read(x.buffer, elementType[x.dtype]);
  const to = shader.write(epilogue.stores[0].buffer, elementType.i32);
  const foldLanes = laneFolder(shader, lowering.limits, { lanes, columns: workgroupSize / lanes, alongRow: true });
  const pair = [
    { name: "key", type: "u32" },
    { name: "place", type: "u32" },
  ] as const;
  const main = `let lane = local % ${lanes}u;
let row = group * ${workgroupSize / lanes}u + local / ${lanes}u;
let present = row < ${shader.uint(rows)};
let length = ${shader.uint(length)};
let base = ${shader.uint(x.view.offset)} + row * length;
var key = 0u;
var place = 0xffffffffu;
for (var i = lane; i < select(0u, length, present); i += ${lanes}u) {
let next = ${orderKey(x.dtype, `${from}[base + i]`, attrs.op === "min")};
if (next > key || place == 0xffffffffu) { key = next; place = i; }
}
${foldLanes(pair, larger)}
if (present && lane == 0u) { ${to}[row] = i32(place); }`;
  return [shader.finish(name, main, Math.ceil((rows * lanes) / workgroupSize))];
}

/** The pair with the larger key, the first of equals. */
function larger([key, place]: readonly string[], [next, where]: readonly string[]): string[] {
  const wins = `${next} > ${key} || (${next} == ${key} && ${where} < ${place})`;
  return [`max(${key}, ${next})`, `select(${place}, ${where}, ${wins})`];
}
