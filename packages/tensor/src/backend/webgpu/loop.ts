import type { LoopKernel, Stage } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { bodyLines, storeLines, type Site } from "./body.ts";
import { laneFolder, type Arrangement } from "./fold.ts";
import { powerAtLeast, serialSize, shaderFor, type Limits, type Lowered, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch, type Shader } from "./shader.ts";
import { mergeLoop, splitPosition } from "./space.ts";
import { combineExpression, heldAs, identityExpression, valueType } from "./wgsl.ts";

type Reduce = Extract<Stage, { kind: "reduce" }>;

/** A generated kernel: elementwise, by rows, or, where rows are few and long, in two passes over fixed pieces of them. */
export function lowerLoop(kernel: LoopKernel, lowering: Lowering): Lowered {
  const merged = mergeLoop(kernel);
  if (sizeOf(merged.outer) === 0) return [];
  if (merged.stages.every((s) => s.kind === "map" && s.over === "outer")) return [lowerElements(merged, lowering)];
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

/** Enough invocations to fill a large GPU. */
const manyInvocations = 2 ** 16;

/** Neighbouring invocations should read neighbouring elements. Depends on shapes alone, so that results repeat bit for bit. */
function arrange({ outer, row, stages }: LoopKernel, { serial }: Limits): Arrangement {
  if (serial) return { lanes: 1, columns: serialSize, alongRow: true };
  const points = sizeOf(outer);
  const length = sizeOf(row);
  const views = stages.flatMap((s) =>
    s.kind === "reduce" || s.over === "row" ? s.body.flatMap((i) => (i.op === "load" ? [i.view] : [])) : [],
  );
  const down = views.some((v) => v.strides[outer.length - 1] === 1 && v.strides.at(-1) !== 1) && outer.length > 0;
  const most = powerAtLeast(Math.ceil(length / 2));
  const wanted = down ? Math.min(powerAtLeast(manyInvocations / points), 32) : workgroupSize;
  const lanes = Math.min(most, wanted, workgroupSize);
  return { lanes, columns: workgroupSize / lanes, alongRow: !down };
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
  const { op } = first;
  const dtype = heldAs(first.dtype);
  const points = sizeOf(kernel.outer);
  const buffer = lowering.scratch(points * pieces * 4);
  const size = Math.ceil(length / pieces);
  const total = { op: "reduced", stage: 0, dtype } as const;
  // Piece p of outer point o is at p·points + o.
  const store = { buffer, view: { offset: 0, strides: [1] }, value: 0 };
  const partial: RowKernel = {
    ...kernel,
    stages: [first, { kind: "map", over: "outer", body: [total], stores: [store] }],
    pieces: { count: pieces, size },
  };
  const view = { offset: 0, strides: [...strides(kernel.outer), points] };
  const fold: Stage = { kind: "reduce", op, dtype, body: [{ op: "load", buffer, view, dtype }], value: 0 };
  return [partial, { ...kernel, row: [pieces], stages: [fold, ...rest] }];
}

function strides(shape: readonly number[]): number[] {
  return shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
}

interface RowKernel extends LoopKernel {
  /** Each row cut into pieces of one size (the last may be shorter), whose results are stored side by side. */
  readonly pieces?: { readonly count: number; readonly size: number };
}

/** `columns` outer points to a workgroup; each row is folded by `lanes` invocations and then by a tree of fixed order. */
function lowerRows(kernel: RowKernel, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const { outer, row, stages, pieces } = kernel;
  const arrangement = arrange(kernel, lowering.limits);
  const { lanes, columns, alongRow } = arrangement;
  const points = sizeOf(outer);
  const count = points * (pieces?.count ?? 1);
  const foldLanes = laneFolder(shader, lowering.limits, arrangement);
  const outerSplit = splitPosition(shader, "o", outer, "c");
  const rowLines = (inner: string, prefix: string): { loop: string; names: readonly string[] } => {
    const split = splitPosition(shader, "r", row, prefix);
    const loop = `for (var r = first + lane; r < last; r += ${lanes}u) {\n${split.lines.join("\n")}\n${inner}\n}`;
    return { loop, names: split.names };
  };
  const whole = ["let o = point;", "let first = 0u;", `let last = select(0u, ${shader.uint(sizeOf(row))}, present);`];
  const size = shader.uint(pieces?.size ?? 0);
  const cut = [
    `let o = point % ${shader.uint(points)};`,
    `let first = point / ${shader.uint(points)} * ${size};`,
    `let last = select(0u, min(first + ${size}, ${shader.uint(sizeOf(row))}), present);`,
  ];
  const lines = [
    alongRow ? `let lane = local % ${lanes}u;` : `let lane = local / ${columns}u;`,
    alongRow ? `let column = local / ${lanes}u;` : `let column = local % ${columns}u;`,
    `let point = group * ${columns}u + column;`,
    `let present = point < ${shader.uint(count)};`,
    ...(pieces ? cut : whole),
    ...outerSplit.lines,
  ];
  stages.forEach((stage, at) => {
    const reduced = (of: number): string => `r${of}`;
    const prefix = `v${at}_`;
    if (stage.kind === "map" && stage.over === "outer") {
      const coordinates = pieces ? ["i32(point)"] : outerSplit.names;
      lines.push(`if (present && lane == 0u) {\n${mapLines(shader, stage, { coordinates, prefix, reduced })}\n}`);
      return;
    }
    const rowNames = row.map((_, axis) => `k${at}_${axis}`);
    const site = { coordinates: [...outerSplit.names, ...rowNames], prefix, reduced };
    if (stage.kind === "map") lines.push(rowLines(mapLines(shader, stage, site), `k${at}_`).loop);
    else {
      const { op, dtype } = stage;
      lines.push(foldLines(shader, stage, at, site, rowLines, arrangement));
      lines.push(foldLanes([{ name: reduced(at), dtype }], ([a], [b]) => [combineExpression(op, dtype, a, b)]));
    }
  });
  return shader.finish(kernel.name, lines.join("\n"), Math.ceil(count / columns), lanes * columns);
}

/** Elements whose sum is a piece, where one invocation folds a row: sums of pieces round less than one long sum. A power of 2. */
const pieceSteps = 64;

function foldLines(
  shader: Shader,
  stage: Reduce,
  at: number,
  site: Site,
  rowLines: (inner: string, prefix: string) => { loop: string },
  arrangement: Arrangement,
): string {
  const { op, dtype, body, value } = stage;
  const total = `r${at}`;
  const combine = (a: string, b: string): string => combineExpression(op, dtype, a, b);
  const identity = identityExpression(op, dtype);
  const [first, inPieces] = arrangement.lanes === 1 ? [`${total}_part`, true] : [total, false];
  const inner = [
    ...bodyLines(shader, body, site),
    `${first} = ${combine(first, site.prefix + value)};`,
    ...(inPieces
      ? [`if ((r & ${pieceSteps - 1}u) == 0u) { ${total} = ${combine(total, first)}; ${first} = ${identity}; }`]
      : []),
  ].join("\n");
  const { loop } = rowLines(inner, `k${at}_`);
  return [
    `var ${total}: ${valueType[dtype]} = ${identity};`,
    ...(inPieces ? [`var ${first}: ${valueType[dtype]} = ${identity};`] : []),
    loop,
    ...(inPieces ? [`${total} = ${combine(total, first)};`] : []),
  ].join("\n");
}
