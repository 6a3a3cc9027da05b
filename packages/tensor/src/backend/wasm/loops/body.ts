/** Straight-line code of a stage: its instructions over the vectors of a window. */
import { internal } from "../../../errors.ts";
import { i32, i32x4, v128, type I32, type V128 } from "../assembler.ts";
import { at, splatConstant, type Cursor, type Cursors, type Emission, type Vector, type Window } from "./emission.ts";
import { cursorAt, gatherLanes, insideLanes, loadLanes, loadSplat, storeLanes } from "./lanes.ts";
import type { Access, NestStage, Step } from "./nest.ts";
import { laneOf } from "./scalarOps.ts";

/** What is known of each instruction of a body before any code is written. */
export interface Traits {
  /** All lanes hold one value, the same for every vector of the lanes. */
  readonly uniform: readonly boolean[];
  /** The same at every line of the row. */
  readonly fixed: readonly boolean[];
}

export function traitsOf(e: Emission, { body }: NestStage): Traits {
  const uniform: boolean[] = [];
  const fixed: boolean[] = [];
  const shared = e.nest.lanes === "row";
  for (const step of body) {
    const access = "access" in step ? e.nest.accesses[step.access] : undefined;
    const operands = step.op === "map" ? step.args : step.op === "gather" ? [step.index] : [];
    const own = { uniform: access ? isUniform(access) : true, fixed: access?.lines === undefined };
    if (step.op === "cached") own.uniform = own.fixed = false;
    if (step.op === "reduced") own.uniform = shared;
    uniform.push(own.uniform && operands.every((i) => uniform[i]));
    fixed.push(own.fixed && operands.every((i) => fixed[i]));
  }
  return { uniform, fixed };
}

const isUniform = (access: Access): boolean =>
  access.walk === "uniform" && !access.bounds.some(({ axis }) => axis.of === "lanes");

/** The values of a body as far as they are computed: one vector if uniform, else one per vector of the window. */
export interface Values {
  readonly vectors: Map<number, readonly Vector[]>;
  /** Where the gathers with one index for all lanes read. */
  readonly gathered: Map<number, Cursor>;
}

export const noValues = (): Values => ({ vectors: new Map(), gathered: new Map() });
export const copyOf = (values: Values): Values => ({
  vectors: new Map(values.vectors),
  gathered: new Map(values.gathered),
});

/** Values computed before a window, for use in it. */
export function intoWindow(e: Emission, { body }: NestStage, values: Values, window: Window): Values {
  const gathered = new Map<number, Cursor>();
  for (const [i, cursor] of values.gathered) {
    const step = body[i];
    if (step.op === "gather") gathered.set(i, cursorAt(e, e.nest.accesses[step.access], cursor, window));
  }
  return { vectors: new Map(values.vectors), gathered };
}

export const valueOf = (values: Values, i: number, u: number): Vector => {
  const copies = values.vectors.get(i)!;
  return copies[u] ?? copies[0];
};

export interface Place {
  readonly stage: NestStage;
  readonly traits: Traits;
  /** At the window if there is one; else only uniform values can be computed. */
  readonly cursors: Cursors;
  readonly window?: Window;
  readonly reduced: ReadonlyMap<number, readonly Vector[]>;
  /** The address of this window's values in a row of the cache. */
  readonly cached?: (row: number) => I32;
}

/**
 * Computes the instructions that `wanted` names and that are not yet among the values, and where gathers read whose index is
 * the same in all lanes. `reachable`: whose cursors stand where they will be used.
 */
export function evaluate(
  e: Emission,
  place: Place,
  values: Values,
  wanted: (i: number) => boolean,
  reachable: (i: number) => boolean = () => true,
): void {
  const { stage, traits, window } = place;
  stage.body.forEach((step, i) => {
    if (step.op === "gather" && traits.uniform[step.index] && values.vectors.has(step.index)) {
      if (!values.gathered.has(i) && reachable(i)) values.gathered.set(i, gatherCursor(e, step, place, values));
    }
    if (values.vectors.has(i) || !wanted(i)) return;
    const copies = traits.uniform[i] ? 1 : window!.unroll;
    values.vectors.set(
      i,
      Array.from({ length: copies }, (_, u) => e.f.let(compute(e, step, i, u, place, values))),
    );
  });
}

/** Moves a cursor to the row that a uniform index names, or masks it where there is none. */
function gatherCursor(e: Emission, step: Step & { op: "gather" }, { cursors }: Place, values: Values): Cursor {
  const { f, word } = e;
  const index = valueOf(values, step.index, 0);
  const cursor = cursors.get(step.access)!;
  const valid = f.let(i32x4.lt_u(index, i32x4.splat(word(step.extent))));
  const row = i32x4.extract(v128.and(index, valid), 0);
  return {
    at: f.let(at(cursor.at, row, word(step.stride))),
    mask: cursor.mask ? f.let(v128.and(valid, cursor.mask)) : valid,
  };
}

function compute(e: Emission, step: Step, i: number, u: number, place: Place, values: Values): V128 {
  const { cursors, window, traits, stage } = place;
  switch (step.op) {
    case "load": {
      const access = e.nest.accesses[step.access];
      const cursor = cursors.get(step.access)!;
      return traits.uniform[i]
        ? loadSplat(access, step.dtype, cursor)
        : loadLanes(e, access, step.dtype, cursor, window!, u);
    }
    case "gather": {
      const access = e.nest.accesses[step.access];
      const cursor = values.gathered.get(i);
      if (traits.uniform[i]) return loadSplat(access, step.dtype, cursor!);
      if (cursor) return loadLanes(e, access, step.dtype, cursor, window!, u);
      const index = { value: valueOf(values, step.index, u), stride: e.word(step.stride), extent: e.word(step.extent) };
      return gatherLanes(e, access, step.dtype, cursors.get(step.access)!, window!, u, index);
    }
    case "number":
      return e.numbers.get(step.slot)!;
    case "constant":
      return splatConstant(step.dtype, step.value);
    case "coordinate":
      return coordinate(e, step, place, u);
    case "inside":
      return inside(e, step, place, u);
    case "map":
      return applyMap(e, step, stage.body, traits, (arg) => valueOf(values, arg, u));
    case "reduced": {
      const copies = place.reduced.get(step.stage)!;
      return copies[u] ?? copies[0];
    }
    case "cached":
      return v128.load(place.cached!(step.row), 16 * u);
  }
}

function applyMap(
  e: Emission,
  { fn, args, dtype }: Step & { op: "map" },
  body: readonly Step[],
  traits: Traits,
  value: (arg: number) => Vector,
): V128 {
  const from = body[args[fn === "where" ? 1 : 0]].dtype;
  const lane = laneOf(fn, from);
  if (!lane) throw internal(`no code for ${fn} of ${from}`);
  const context = { f: e.f, to: dtype, width: e.nest.width, uniform: traits.uniform[args.at(-1)!], import: e.import };
  const [a, b, d] = args.map(value);
  return lane(context, a, b ?? a, d ?? a);
}

/** The coordinate of each lane, converted from an integer. */
function coordinate(
  e: Emission,
  step: Step & { op: "coordinate" },
  { cursors, window, traits, stage }: Place,
  u: number,
): V128 {
  const access = e.nest.accesses[step.access];
  const cursor = cursors.get(step.access)!;
  let lanes: V128 = i32x4.splat(cursor.at);
  if (access.walk === "strided") {
    const stride = e.f.let(e.word(access.stride!));
    const first = at(cursor.at, i32.const(u * e.nest.width), stride);
    lanes = i32x4.add(i32x4.splat(first), i32x4.mul(e.ramp, i32x4.splat(stride)));
  }
  const mask = window && insideLanes(e, access, window, u);
  if (mask) lanes = v128.and(lanes, mask);
  if (cursor.mask) lanes = v128.and(lanes, cursor.mask);
  const integer = e.f.let(lanes);
  const from = step.dtype === "u32" ? "u32" : "i32";
  const context = {
    f: e.f,
    to: step.dtype,
    width: e.nest.width,
    uniform: traits.uniform[stage.body.indexOf(step)],
    import: e.import,
  };
  return laneOf("cast", from)!(context, integer, integer, integer);
}

function inside(e: Emission, step: Step & { op: "inside" }, { cursors, window }: Place, u: number): V128 {
  const access = e.nest.accesses[step.access];
  const { mask } = cursors.get(step.access)!;
  const lanes = window && insideLanes(e, access, window, u);
  if (lanes === undefined) return mask ?? i32x4.const(-1);
  return mask ? v128.and(lanes, mask) : lanes;
}

/** Writes what a map stage stores and what any stage keeps in the cache. */
export function writeOut(e: Emission, { stage, cursors, cached }: Place, window: Window, values: Values): void {
  if (stage.kind === "map") {
    for (const { access, value } of stage.stores) {
      const home = e.nest.accesses[access];
      const copies = home.walk === "uniform" ? 1 : window.unroll;
      for (let u = 0; u < copies; u++) {
        storeLanes(e, home, stage.body[value].dtype, cursors.get(access)!, window, u, valueOf(values, value, u));
      }
    }
  }
  for (const { value, row } of stage.keeps) {
    for (let u = 0; u < window.unroll; u++) e.f.do(v128.store(cached!(row), valueOf(values, value, u), 16 * u));
  }
}
