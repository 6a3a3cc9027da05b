/** Chooses the axis that runs across the lanes of a vector, and the order of the other axes. */
import type { Instruction, LoopKernel, Store } from "../../../schedule/plan.ts";
import { sizeOf } from "../../../shape.ts";
import { costOf } from "./scalarOps.ts";
import { addUnit, mergeAxes, moveAxis, type Space } from "./space.ts";

/** Prices in additions of a vector: rough, and only compared. */
const STRIDED = 8;
const SCATTERED = 12;
const LINE = 10;
const FOLD = 14;
/** Loading lane by lane what does not fill a vector. */
const PARTIAL = 3;
/** Longer axes are all alike, so that the choice, and with it the module, does not change with every shape. */
const LONG = 16;

interface Body {
  readonly body: readonly Instruction[];
  readonly stores: readonly Store[];
}

/** The bodies whose points make up most of the work: those over the row, or all of an elementwise kernel. */
function mainBodies(kernel: LoopKernel): Body[] {
  const bodies = kernel.stages.map((stage) => ({
    body: stage.body,
    stores: stage.kind === "map" ? stage.stores : [],
    over: stage.kind === "map" ? stage.over : "row",
  }));
  return bodies.some(({ over }) => over === "row") ? bodies.filter(({ over }) => over === "row") : bodies;
}

/** By instruction: whether its value differs along an axis. */
function varying(space: Space, body: readonly Instruction[], axis: number): boolean[] {
  const values: boolean[] = [];
  const moves = (key: Parameters<typeof space.views.get>[0]): boolean => {
    const view = space.views.get(key);
    return view !== undefined && (view.strides[axis] !== 0 || view.bounds[axis] !== undefined);
  };
  for (const step of body) {
    if (step.op === "load" || step.op === "coordinate") values.push(moves(step.view));
    else if (step.op === "gather") values.push(values[step.index] || moves(step.view));
    else if (step.op === "inside") values.push(moves(step.bounds));
    else values.push(step.op === "map" && step.args.some((arg) => values[arg]));
  }
  return values;
}

/** What a vector along an axis costs: its memory accesses, and the arithmetic of lanes that differ. */
function vectorCost(space: Space, bodies: readonly Body[], axis: number): { memory: number; arithmetic: number } {
  let memory = 0;
  let arithmetic = 0;
  const seen = new Set<string>();
  const price = (buffer: number, key: Store["view"]): void => {
    const view = space.views.get(key);
    const stride = view?.strides[axis] ?? 0;
    const name = `${buffer}:${view?.offset}:${view?.strides}`;
    if (!seen.has(name)) memory += stride === 0 ? 0.25 : stride === 1 ? 1 : STRIDED;
    seen.add(name);
  };
  for (const { body, stores } of bodies) {
    const varies = varying(space, body, axis);
    body.forEach((step, i) => {
      if (step.op === "load" || (step.op === "gather" && !varies[step.index])) price(step.buffer, step.view);
      else if (step.op === "gather") memory += SCATTERED;
      else if (step.op === "map" && varies[i]) arithmetic += costOf(step.fn, body[step.args[0]].dtype);
    });
    for (const store of stores) price(store.buffer, store.view);
  }
  return { memory, arithmetic };
}

/** The cost of one element if lanes run along `axis`. */
function elementCost(space: Space, kernel: LoopKernel, bodies: readonly Body[], axis: number): number {
  const { over } = space.axes[axis];
  const extent = Math.min(space.axes[axis].extent, LONG);
  const rowSize = Math.min(sizeOf(space.axes.filter((a) => a.over === "row").map((a) => a.extent)), LONG) || 1;
  const folds = over === "row" ? kernel.stages.filter((stage) => stage.kind === "reduce").length : 0;
  const { memory, arithmetic } = vectorCost(space, bodies, axis);
  const partial = extent % 4 ? 1 : 0;
  const vectors = Math.floor(extent / 4);
  const perVector = (arithmetic * (vectors + partial) + memory * (vectors + PARTIAL * partial)) / extent;
  return perVector + (over === "row" ? LINE / extent : LINE / (4 * rowSize)) + (FOLD * folds) / rowSize;
}

/** Cost in additions of one vector of the kernel along its last axis of `lanes`. */
export function costOfVector(space: Space, kernel: LoopKernel, lanes: "outer" | "row"): number {
  const { memory, arithmetic } = vectorCost(space, mainBodies(kernel), lastOf(space, lanes));
  return memory + arithmetic;
}

const lastOf = (space: Space, over: "outer" | "row"): number => space.axes.findLastIndex((axis) => axis.over === over);

/**
 * Moves the axis of the lanes to the end of the outer axes or of the row, and says which. Another axis along which some array
 * is contiguous is moved next to it, so that a transposition walks blocks.
 */
export function orient(space: Space, kernel: LoopKernel): "outer" | "row" {
  const hasRow = kernel.stages.some((stage) => stage.kind === "reduce" || stage.over === "row");
  if (space.axes.every((axis) => axis.pinned)) addUnit(space, hasRow ? "row" : "outer");
  const bodies = mainBodies(kernel);
  let best = -1;
  let least = Infinity;
  for (let axis = space.axes.length - 1; axis >= 0; axis--) {
    if (space.axes[axis].pinned) continue;
    const cost = elementCost(space, kernel, bodies, axis);
    if (cost < least || best < 0) [best, least] = [axis, cost];
  }
  const lanes = space.axes[best].over;
  moveAxis(space, best, lastOf(space, lanes));
  const outerCount = lastOf(space, "outer") + 1;
  if (lanes === "outer") {
    const near = contiguousBeside(space, outerCount - 1);
    if (near >= 0) moveAxis(space, near, outerCount - 2);
    mergeAxes(space, 0, outerCount - 1);
  } else mergeAxes(space, outerCount, space.axes.length - 1);
  return lanes;
}

/** The outer axis, other than that of the lanes, along which a view that is strided in the lanes is contiguous. */
function contiguousBeside(space: Space, lanes: number): number {
  for (const view of space.views.values()) {
    if (view === undefined || Math.abs(view.strides[lanes]) <= 1) continue;
    const axis = view.strides.findIndex((stride, i) => stride === 1 && i < lanes && !space.axes[i].pinned);
    if (axis >= 0) return axis;
  }
  return -1;
}
