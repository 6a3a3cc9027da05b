import type { Instruction, LoopKernel, Stage, Store, View } from "../../schedule/plan.ts";
import type { Shape } from "../../types.ts";
import type { Shader } from "./shader.ts";

/** Runs of neighbouring axes that every view walks as one. Axes of extent 1 belong to none. */
type Runs = readonly (readonly number[])[];

const isFull = (view: View, axis: number, extent: number): boolean => {
  const bounds = view.bounds?.[axis];
  return bounds === undefined || (bounds[0] <= 0 && bounds[1] >= extent);
};

/** Merges axes `[from, to)` of a space wherever all views allow it, so that indexing costs as few divisions as possible. */
export function runsOf(shape: Shape, views: readonly View[], from: number, to: number): Runs {
  const runs: number[][] = [];
  for (let axis = from; axis < to; axis++) {
    const full = views.every((view) => isFull(view, axis, shape[axis]));
    if (full && shape[axis] === 1) continue;
    const last = runs.at(-1)?.at(-1);
    const joins =
      full &&
      last !== undefined &&
      views.every((v) => isFull(v, last, shape[last]) && v.strides[last] === v.strides[axis] * shape[axis]);
    if (joins) runs.at(-1)!.push(axis);
    else runs.push([axis]);
  }
  return runs;
}

export const mergeShape = (shape: Shape, runs: Runs): number[] =>
  runs.map((run) => run.reduce((size, axis) => size * shape[axis], 1));

/** A view of the merged axes. An axis whose bounds leave nothing out loses them. */
export function mergeView(view: View, shape: Shape, runs: Runs): View {
  const strides = runs.map((run) => view.strides[run.at(-1)!]);
  const bounded = runs.some((run) => !run.every((axis) => isFull(view, axis, shape[axis])));
  if (!bounded) return { offset: view.offset, strides };
  const extents = mergeShape(shape, runs);
  const bounds = runs.map((run, i): readonly [number, number] =>
    isFull(view, run[0], shape[run[0]]) ? [0, extents[i]] : view.bounds![run[0]],
  );
  return { offset: view.offset, strides, bounds };
}

/** The view of an `inside`, which has bounds alone. */
const boundsView = (bounds: NonNullable<View["bounds"]>): View => ({ offset: 0, strides: bounds.map(() => 0), bounds });

export const viewsOf = (body: readonly Instruction[], stores: readonly Store[] = []): View[] => [
  ...body.flatMap((i) =>
    i.op === "load" || i.op === "gather" || i.op === "coordinate"
      ? [i.view]
      : i.op === "inside"
        ? [boundsView(i.bounds)]
        : [],
  ),
  ...stores.map((s) => s.view),
];

/** A body over the merged axes. */
export function mergeBody(body: readonly Instruction[], change: (view: View) => View): Instruction[] {
  return body.map((i) => {
    if (i.op === "load" || i.op === "gather" || i.op === "coordinate") return { ...i, view: change(i.view) };
    if (i.op !== "inside") return i;
    const { strides, bounds } = change(boundsView(i.bounds));
    return { ...i, bounds: bounds ?? strides.map(() => [0, 2 ** 31 - 1] as const) };
  });
}

type OuterMap = Extract<Stage, { kind: "map" }>;
export const isOuter = (stage: Stage): stage is OuterMap => stage.kind === "map" && stage.over === "outer";

/** The same kernel over as few axes as its views allow. */
export function mergeLoop(kernel: LoopKernel): LoopKernel {
  const { outer, row, stages } = kernel;
  const space = [...outer, ...row];
  const staged = stages.map((s) => viewsOf(s.body, s.kind === "map" ? s.stores : []));
  const rowViews = stages.flatMap((s, i) => (isOuter(s) ? [] : staged[i]));
  const outerRuns = runsOf(space, staged.flat(), 0, outer.length);
  const rowRuns = runsOf(space, rowViews, outer.length, space.length);
  return {
    ...kernel,
    outer: mergeShape(space, outerRuns),
    row: row.length === 0 ? [] : mergeShape(space, rowRuns),
    stages: stages.map((s): Stage => {
      const runs = isOuter(s) ? outerRuns : [...outerRuns, ...rowRuns];
      const change = (view: View): View => mergeView(view, space, runs);
      const body = mergeBody(s.body, change);
      return s.kind === "map"
        ? { ...s, body, stores: s.stores.map((store) => ({ ...store, view: change(store.view) })) }
        : { ...s, body };
    }),
  };
}

/**
 * Splits a row-major position into coordinates.
 *
 * @param position a u32 that is a name.
 * @returns statements, and the names of the coordinates, which are i32.
 */
export function splitPosition(shader: Shader, position: string, shape: Shape, prefix: string) {
  const lines: string[] = [];
  const names = shape.map((_, axis) => `${prefix}${axis}`);
  let rest = position;
  for (let axis = shape.length - 1; axis > 0; axis--) {
    const extent = shader.uint(shape[axis]);
    lines.push(`let ${names[axis]} = i32(${rest} % ${extent});`, `let ${prefix}_${axis} = ${rest} / ${extent};`);
    rest = `${prefix}_${axis}`;
  }
  if (shape.length > 0) lines.push(`let ${names[0]} = i32(${rest});`);
  return { lines, names };
}

/** `offset + Σ coordinate·stride` as an i32. Strides of 0 and 1 and an offset of 0 are part of the code. */
export function addressOf(shader: Shader, { offset, strides }: View, coordinates: readonly string[]): string {
  const terms = offset === 0 ? [] : [shader.int(offset)];
  strides.forEach((stride, axis) => {
    if (stride === 1) terms.push(coordinates[axis]);
    else if (stride !== 0) terms.push(`${coordinates[axis]} * ${shader.int(stride)}`);
  });
  return terms.join(" + ") || "0";
}

/** Whether a place along the last axis that is a multiple of 4 is one in memory, and its neighbours are neighbours there. */
export const isAligned = ({ offset, strides, bounds }: View): boolean =>
  !bounds && strides.at(-1) === 1 && [offset, ...strides.slice(0, -1)].every((step) => step % 4 === 0);

/** Whether a point is within bounds, or undefined if it always is. */
export function insideOf(shader: Shader, bounds: View["bounds"], coordinates: readonly string[]): string | undefined {
  if (!bounds || bounds.length === 0) return undefined;
  return bounds
    .map(([from, to], axis) => {
      const above = from <= 0 ? "" : `${coordinates[axis]} >= ${shader.int(from)} && `;
      return `${above}${coordinates[axis]} < ${shader.int(to)}`;
    })
    .join(" && ");
}
