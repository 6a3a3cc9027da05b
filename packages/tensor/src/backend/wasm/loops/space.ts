/** The index space of a kernel made simple: no axes of extent 1, no two axes that every view walks as one. */
import { internal } from "../../../errors.ts";
import type { LoopKernel, View } from "../../../schedule/plan.ts";

/** A view over the axes of a space: its strides and, where it is padded along an axis, the coordinates that hold elements. */
export interface SpaceView {
  offset: number;
  readonly strides: number[];
  readonly bounds: (readonly [from: number, to: number] | undefined)[];
}

export interface Axis {
  readonly extent: number;
  readonly over: "outer" | "row";
  /** Stays as it is: the axis of the pieces that a long row was cut into. */
  readonly pinned: boolean;
}

export interface Space {
  axes: Axis[];
  /** By the kernel's own view object. `undefined`: holds no element at any point. */
  readonly views: Map<View["bounds"] | View, SpaceView | undefined>;
}

/**
 * The space of a kernel and its views in it. Views of `outer` bodies have stride 0 along the row.
 *
 * @param pieces whether the first outer axis counts the pieces of a row that was cut.
 */
export function spaceOf(kernel: LoopKernel, pieces: boolean): Space {
  const axes: Axis[] = [
    ...kernel.outer.map((extent, i) => ({ extent, over: "outer", pinned: pieces && i === 0 }) as const),
    ...kernel.row.map((extent) => ({ extent, over: "row", pinned: false }) as const),
  ];
  const views: Space["views"] = new Map();
  const add = (key: View["bounds"] | View, view: Partial<View>): void => {
    const pad = <T>(values: readonly T[] | undefined, none: T): T[] => axes.map((_, i) => values?.[i] ?? none);
    views.set(
      key,
      clipped(axes, {
        offset: view.offset ?? 0,
        strides: pad(view.strides, 0),
        bounds: pad<SpaceView["bounds"][number]>(view.bounds, undefined),
      }),
    );
  };
  for (const stage of kernel.stages) {
    for (const step of stage.body) {
      if (step.op === "load" || step.op === "gather" || step.op === "coordinate") add(step.view, step.view);
      if (step.op === "inside") add(step.bounds, { bounds: step.bounds });
    }
    if (stage.kind === "map") for (const store of stage.stores) add(store.view, store.view);
  }
  const space: Space = { axes, views };
  dropUnits(space);
  mergeAxes(space);
  return space;
}

/** Bounds cut to the space; those that cut nothing off vanish, and so does a view without any element. */
function clipped(axes: readonly Axis[], view: SpaceView): SpaceView | undefined {
  for (let i = 0; i < axes.length; i++) {
    const bounds = view.bounds[i];
    if (!bounds) continue;
    const from = Math.max(bounds[0], 0);
    const to = Math.min(bounds[1], axes[i].extent);
    if (from >= to) return undefined;
    view.bounds[i] = from === 0 && to === axes[i].extent ? undefined : [from, to];
  }
  return view;
}

const present = (space: Space): SpaceView[] => [...space.views.values()].filter((view) => view !== undefined);

function removeAxis(space: Space, axis: number): void {
  space.axes.splice(axis, 1);
  for (const view of present(space)) {
    view.strides.splice(axis, 1);
    view.bounds.splice(axis, 1);
  }
}

function dropUnits(space: Space): void {
  for (let i = space.axes.length - 1; i >= 0; i--) {
    if (space.axes[i].extent === 1 && !space.axes[i].pinned) removeAxis(space, i);
  }
}

/** Whether every view walks axes `i` and `i + 1` as one axis would be walked. */
function canMerge(space: Space, i: number): boolean {
  const [a, b] = [space.axes[i], space.axes[i + 1]];
  if (a.over !== b.over || a.pinned || b.pinned) return false;
  return present(space).every(
    ({ strides, bounds }) => strides[i] === strides[i + 1] * b.extent && bounds[i + 1] === undefined,
  );
}

/** Merges neighbours where possible. Also called again once axes have moved. */
export function mergeAxes(space: Space, first = 0, last = space.axes.length): void {
  for (let i = last - 2; i >= first; i--) {
    if (!canMerge(space, i)) continue;
    const inner = space.axes[i + 1].extent;
    for (const view of present(space)) {
      view.strides[i] = view.strides[i + 1];
      const bounds = view.bounds[i];
      if (bounds) view.bounds[i] = [bounds[0] * inner, bounds[1] * inner];
    }
    space.axes[i] = { ...space.axes[i], extent: space.axes[i].extent * inner };
    removeAxis(space, i + 1);
  }
}

/** Adds an axis of extent 1 at the end of the outer axes or of the row. */
export function addUnit(space: Space, over: Axis["over"]): void {
  const at = over === "row" ? space.axes.length : space.axes.filter((axis) => axis.over === "outer").length;
  space.axes.splice(at, 0, { extent: 1, over, pinned: false });
  for (const view of present(space)) {
    view.strides.splice(at, 0, 0);
    view.bounds.splice(at, 0, undefined);
  }
}

/** Moves an axis to another position of its own group. */
export function moveAxis(space: Space, from: number, to: number): void {
  if (space.axes[from].over !== space.axes[to].over) throw internal("an axis would leave its group");
  const move = <T>(list: T[]): void => void list.splice(to, 0, ...list.splice(from, 1));
  move(space.axes);
  for (const view of present(space)) {
    move(view.strides);
    move(view.bounds);
  }
}
