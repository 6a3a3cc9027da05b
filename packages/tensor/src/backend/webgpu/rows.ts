import type { LoopKernel, Stage, View } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";
import { bodyLines, storeLines, type Site } from "./body.ts";
import { laneFolder, type Arrangement } from "./fold.ts";
import { foursOf } from "./fours.ts";
import { keptValues } from "./kept.ts";
import { powerAtLeast, serialSize, shaderFor, type Limits, type Lowering } from "./lower.ts";
import { workgroupSize, type Dispatch, type Shader } from "./shader.ts";
import { isOuter, splitPosition } from "./space.ts";
import { pack, packedType, totalOf, unpack, type Total } from "./totals.ts";
import { walkBody, walksOf, type Step } from "./walk.ts";

/** A kernel by rows, or one of the two passes that it is done in. */
export interface RowKernel extends LoopKernel {
  /** The first: each row cut into pieces of one size (the last may be shorter). Of piece p of outer point o the total is at p·points + o. */
  readonly pieces?: { readonly count: number; readonly size: number; readonly buffer: number };
  /** The second: where the totals are that its first stage, the only one along the row, folds in place of what its body computes. */
  readonly totals?: number;
}

/** Enough invocations to fill a large GPU. */
const manyInvocations = 2 ** 16;

/** Neighbouring invocations should read neighbouring elements. Depends on shapes alone, so that results repeat bit for bit. */
export function arrange({ outer, row, stages, totals }: RowKernel, { serial }: Limits): Arrangement {
  if (serial) return { lanes: 1, columns: serialSize, alongRow: true };
  const points = sizeOf(outer);
  const length = sizeOf(row);
  const views = stages.flatMap((s) =>
    s.kind === "reduce" || s.over === "row" ? s.body.flatMap((i) => (i.op === "load" ? [i.view] : [])) : [],
  );
  const isDown = (v: View): boolean => v.strides[outer.length - 1] === 1 && v.strides.at(-1) !== 1;
  const down = outer.length > 0 && (totals !== undefined || views.some(isDown));
  const most = powerAtLeast(Math.ceil(length / 2));
  const wanted = down ? Math.min(powerAtLeast(manyInvocations / points), 32) : workgroupSize;
  const lanes = Math.min(most, wanted, workgroupSize);
  return { lanes, columns: workgroupSize / lanes, alongRow: !down };
}

/** `columns` outer points to a workgroup; each row is folded by `lanes` invocations and then by a tree of fixed order. */
export function lowerRows(kernel: RowKernel, lowering: Lowering): Dispatch {
  const shader = shaderFor(lowering);
  const { outer, row, stages, pieces, totals } = kernel;
  const arrangement = arrange(kernel, lowering.limits);
  const { lanes, columns } = arrangement;
  const count = sizeOf(outer) * (pieces?.count ?? 1);
  const outerSplit = splitPosition(shader, "o", outer, "c");
  const lines = [...pointLines(shader, kernel, count, arrangement), ...outerSplit.lines];
  const reduced = (stage: number): string => totalOfStage(stages[stage]).value(heldIn(stage));
  const siteOf = (at: number): Site => ({ coordinates: outerSplit.names, prefix: `v${at}_`, reduced });
  const foldLanes = laneFolder(shader, lowering.limits, arrangement);
  const makeFours = totals === undefined ? foursOf(shader, kernel, lowering) : undefined;
  const walks = walksOf(stages);
  const walkOf = (stage: number): number => walks.findIndex((walk) => walk.some(({ at }) => at === stage));
  const kept = keptValues(shader, kernel, walkOf, lowering);
  for (const walk of walks) {
    const { stage, at } = walk[0];
    if (isOuter(stage)) {
      const body = bodyLines(shader, stage.body, siteOf(at));
      const stores = storeLines(shader, stage.stores, stage.body, siteOf(at));
      lines.push("if (present && lane == 0u) {", ...body, ...stores, "}");
      continue;
    }
    const split = splitPosition(shader, "r", row, `k${at}_`);
    const coordinates = [...outerSplit.names, ...split.names];
    const fours = makeFours?.();
    const sites = new Map(walk.map((step) => [step, { ...siteOf(step.at), coordinates, fours }]));
    const body = totals === undefined ? walkBody(shader, walk, sites, kept, outer.length) : { before: [], each: [] };
    const folds = walk.flatMap((step) => foldOf(shader, kernel, step));
    const turn = (each: readonly string[]): readonly string[] =>
      fours ? fours.turn(split.lines, each) : [...split.lines, ...each];
    lines.push(...body.before, ...walkLines(body.each, folds, { lanes, points: fours ? 4 : 1, turn }));
    for (const { name, total } of folds)
      lines.push(foldLanes([{ name, type: total.type }], ([a], [b]) => [total.combine(a, b)]));
  }
  if (pieces) {
    const { type } = totalOfStage(stages[0]);
    const to = shader.write(pieces.buffer, packedType(type));
    lines.push(`if (present && lane == 0u) { ${to}[point] = ${pack(type, heldIn(0))}; }`);
  }
  return shader.finish(kernel.name, lines.join("\n"), Math.ceil(count / columns), lanes * columns);
}

/** Which of `count` points an invocation has, as lane number what, and from where in the row of outer point `o` to where. */
function pointLines(
  shader: Shader,
  { outer, row, pieces }: RowKernel,
  count: number,
  { lanes, columns, alongRow }: Arrangement,
): string[] {
  const own = [
    alongRow ? `let lane = local % ${lanes}u;` : `let lane = local / ${columns}u;`,
    alongRow ? `let column = local / ${lanes}u;` : `let column = local % ${columns}u;`,
    `let point = group * ${columns}u + column;`,
    `let present = point < ${shader.uint(count)};`,
  ];
  const length = shader.uint(sizeOf(row));
  if (!pieces) return [...own, "let o = point;", "let first = 0u;", `let last = select(0u, ${length}, present);`];
  const [points, size] = [shader.uint(sizeOf(outer)), shader.uint(pieces.size)];
  return [
    ...own,
    `let o = point % ${points};`,
    `let first = point / ${points} * ${size};`,
    `let last = select(0u, min(first + ${size}, ${length}), present);`,
  ];
}

const totalOfStage = (stage: Stage): Total => {
  if (stage.kind !== "reduce") throw new Error("webgpu: a stage that reduces nothing has no total");
  return totalOf(stage.op, stage.dtype);
};

/** The variable of a stage's total. */
const heldIn = (stage: number): string => `r${stage}`;

/** What a stage folds along the row: the total of each point, in a variable of that name. */
interface Fold {
  readonly name: string;
  readonly total: Total;
  readonly own: string;
}

function foldOf(shader: Shader, { outer, totals }: RowKernel, { stage, at }: Step): Fold[] {
  if (stage.kind === "map") return [];
  const total = totalOf(stage.op, stage.dtype);
  const there = (buffer: number): string =>
    unpack(total.type, `${shader.read(buffer, packedType(total.type))}[r * ${shader.uint(sizeOf(outer))} + o]`);
  return [{ name: heldIn(at), total, own: totals === undefined ? total.of(`v${at}_${stage.value}`) : there(totals) }];
}

/** Elements whose sum is a piece, where one invocation folds a row: sums of pieces round less than one long sum. */
const pieceSteps = 64;

interface Loop {
  readonly lanes: number;
  /** How many points of the row a turn takes, and the statements of one, given those at each point. */
  readonly points: 1 | 4;
  readonly turn: (each: readonly string[]) => readonly string[];
}

/** Each invocation's part of a row: by `lanes` of them in turn, or all of it and by pieces. */
function walkLines(each: readonly string[], folds: readonly Fold[], { lanes, points, turn }: Loop): string[] {
  const variables = (suffix: string): string[] =>
    folds.map(({ name, total }) => `var ${name}${suffix}: ${total.type} = ${total.identity};`);
  const add = (suffix: string, more: (fold: Fold) => string): string[] =>
    folds.map((fold) => `${fold.name}${suffix} = ${fold.total.combine(fold.name + suffix, more(fold))};`);
  const step = `r += ${lanes * points}u`;
  if (lanes > 1 || folds.length === 0) {
    const body = turn([...each, ...add("", ({ own }) => own)]);
    return [...variables(""), `for (var r = first + lane; r < last; ${step}) {`, ...body, "}"];
  }
  return [
    ...variables(""),
    `for (var begin = first; begin < last; begin += ${pieceSteps}u) {`,
    `let end = min(begin + ${pieceSteps}u, last);`,
    ...variables("_part"),
    `for (var r = begin; r < end; ${step}) {`,
    ...turn([...each, ...add("_part", ({ own }) => own)]),
    "}",
    ...add("", ({ name }) => `${name}_part`),
    "}",
  ];
}
