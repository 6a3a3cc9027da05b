/** Writes the module of a nest. */
import {
  assemble,
  i32,
  i32x4,
  select,
  v128,
  type Callable,
  type EmitOptions,
  type Func,
  type I32,
  type Local,
  type Module,
} from "../assembler.ts";
import type { MathImport } from "../math.ts";
import { accumulator, BLOCK, identityVector, type Accumulator } from "./accumulate.ts";
import {
  copyOf,
  evaluate,
  intoWindow,
  noValues,
  traitsOf,
  valueOf,
  writeOut,
  type Place,
  type Traits,
  type Values,
} from "./body.ts";
import { at, maskFor, type Cursors, type Emission, type Vector, type Window } from "./emission.ts";
import { cursorAt } from "./lanes.ts";
import type { Nest, NestStage, Slot } from "./nest.ts";
import { importsOf } from "./scalarOps.ts";
import { walk, walkLanes, type Position } from "./walk.ts";

/** The module: it imports `env.memory` and what it needs of `math`, and exports `run(args, begin, end, scratch)`. */
export function emitNest(nest: Nest, options: EmitOptions): Uint8Array<ArrayBuffer> {
  return assemble(options, (m) => {
    m.importMemory("env", "memory");
    const imports = importMath(m, nest);
    m.define(
      { args: "i32", begin: "i32", end: "i32", scratch: "i32" },
      "void",
      (f, { args, begin, end, scratch }) => {
        const e = startEmission(f, nest, { args, scratch, imports });
        const tile = f.local("i32");
        f.for(tile, begin, end, 1, () => emitTile(e, tile));
      },
      "run",
    );
  });
}

type MathImports = ReadonlyMap<MathImport, Callable<"f64">>;

/** Imports the functions that a nest needs. */
export function importMath(m: Module, nest: Nest): MathImports {
  const imports = new Map<MathImport, Callable<"f64">>();
  for (const name of neededImports(nest)) {
    const binary = name === "pow" || name === "mod";
    imports.set(name, m.importFunction("math", name, binary ? ["f64", "f64"] : ["f64"], "f64"));
  }
  return imports;
}

/** Begins a function that runs a nest whose words are at `args`. */
export function startEmission(
  f: Func,
  nest: Nest,
  { args, scratch, imports }: { args: Local<"i32">; scratch: I32; imports: MathImports },
): Emission {
  const word = (slot: Slot): I32 => i32.load(args, 4 * slot);
  const ramp = f.let(i32x4.const(0));
  for (const lane of [1, 2, 3]) f.set(ramp, i32x4.replace(ramp, lane, lane));
  const numbers = new Map<Slot, Vector>();
  for (const step of nest.stages.flatMap((stage) => stage.body)) {
    if (step.op !== "number" || numbers.has(step.slot)) continue;
    const load = step.dtype === "f64" ? v128.load64_splat : v128.load32_splat;
    const number = f.let(load(args, 4 * step.slot, 4));
    if (step.dtype === "bool") f.set(number, i32x4.ne(number, 0));
    numbers.set(step.slot, number);
  }
  return { f, nest, word, numbers, ramp, scratch, import: (name) => imports.get(name)! };
}

function neededImports(nest: Nest): Set<MathImport> {
  const names = new Set<MathImport>();
  for (const { body } of nest.stages) {
    for (const step of body) {
      if (step.op === "map") importsOf(step.fn, body[step.args[0]].dtype).forEach((name) => names.add(name));
    }
  }
  return names;
}

function emitTile(e: Emission, tile: I32): void {
  const { f, nest, word } = e;
  const { extents } = nest;
  const whole = nest.lanes === "row";
  const chunks = f.let(whole ? i32.const(1) : word(extents.chunks));
  const from = f.let(i32.mul(i32.div_u(tile, chunks), word(extents.pointsPerTile)));
  const to = smaller(e, i32.add(from, word(extents.pointsPerTile)), word(extents.points));
  const starts: Cursors = new Map(
    nest.accesses.map((access, i) => [i, { at: access.base === undefined ? i32.const(0) : f.let(word(access.base)) }]),
  );
  const first = f.let(whole ? i32.const(0) : i32.mul(i32.rem_u(tile, chunks), word(extents.chunk)));
  const last = smaller(e, whole ? word(extents.lanes) : i32.add(first, word(extents.chunk)), word(extents.lanes));
  walk(e, "points", from, to, starts, (cursors, position) => {
    const point: Point = { cursors, first, last, ...piece(e, position) };
    if (whole) lanesAlongRow(e, point);
    else lanesAcrossPoints(e, point);
  });
}

function smaller({ f }: Emission, a: I32, b: I32) {
  const [x, y] = [f.let(a), f.let(b)];
  return f.let(select(i32.lt_s(x, y), x, y));
}

/** One position of the looped outer axes, and the part of the lanes and of the lines to do there. */
interface Point {
  readonly cursors: Cursors;
  readonly first: I32;
  readonly last: I32;
  readonly fromLine: I32;
  readonly toLine: I32;
}

/** The part of the row that a point has: all of it, or its piece. */
function piece(e: Emission, { coordinates }: Position): { fromLine: I32; toLine: I32 } & Partial<Point> {
  const { f, nest, word } = e;
  const lines = word(nest.extents.lines);
  if (!nest.cut) return { fromLine: i32.const(0), toLine: lines };
  const from = f.let(i32.mul(coordinates[0], word(nest.cut.length)));
  const to = smaller(
    e,
    i32.add(from, word(nest.cut.length)),
    nest.cut.of === "lanes" ? word(nest.extents.lanes) : lines,
  );
  if (nest.cut.of === "lanes") return { first: from, last: to, fromLine: i32.const(0), toLine: lines };
  return { fromLine: from, toLine: to };
}

/** The cursors that a stage uses. */
function cursorsOf(stage: NestStage, cursors: Cursors): Cursors {
  const used = new Set(stage.body.flatMap((step) => ("access" in step ? [step.access] : [])));
  if (stage.kind === "map") stage.stores.forEach((store) => used.add(store.access));
  return new Map([...cursors].filter(([key]) => used.has(key)));
}

export const windowCursors = (e: Emission, cursors: Cursors, window: Window): Cursors =>
  new Map([...cursors].map(([key, cursor]) => [key, cursorAt(e, e.nest.accesses[key], cursor, window)]));

const isOver = (stage: NestStage, over: "row" | "outer"): boolean =>
  stage.kind === "reduce" ? over === "row" : stage.over === over;

// ---- lanes along the row: one point at a time ----

function lanesAlongRow(e: Emission, point: Point): void {
  const reduced = new Map<number, readonly Vector[]>();
  e.nest.stages.forEach((stage, index) => {
    const traits = traitsOf(e, stage);
    const cursors = cursorsOf(stage, point.cursors);
    if (isOver(stage, "outer")) {
      const values = noValues();
      const place: Place = { stage, traits, cursors, reduced };
      evaluate(e, place, values, () => true);
      writeOut(e, place, single, values);
      return;
    }
    const total = stage.kind === "reduce" ? accumulator(e, stage.op, stage.dtype, stage.unroll, true) : undefined;
    walk(e, "lines", point.fromLine, point.toLine, cursors, (here, line) => {
      const prepared = noValues();
      evaluate(e, { stage, traits, cursors: here, reduced }, prepared, (i) => traits.uniform[i]);
      const vectors = (from: I32, to: I32): void =>
        walkLanes(e, from, to, stage.unroll, (window) => {
          const cached = cacheRows(e, i32.add(i32.mul(line.index, e.word(e.nest.extents.lanes)), window.v), 4);
          const place: Place = { stage, traits, cursors: windowCursors(e, here, window), window, reduced, cached };
          vectorOfRow(e, place, intoWindow(e, stage, prepared, window), total);
        });
      if (total?.blocked) inBlocks(e, total, point.first, point.last, BLOCK * stage.unroll * e.nest.width, vectors);
      else vectors(point.first, point.last);
    });
    if (total) reduced.set(index, total.finish());
  });
}

/** A window of one element, for code that runs once per point. */
const single: Window = { unroll: 1, v: i32.const(0), to: i32.const(1), bytes: { 4: i32.const(0), 8: i32.const(0) } };

/** One window of a stage over the row: compute, then store or accumulate. */
function vectorOfRow(e: Emission, place: Place, values: Values, total: Accumulator | undefined): void {
  const { stage, window } = place;
  evaluate(e, place, values, () => true);
  writeOut(e, place, window!, values);
  if (stage.kind === "reduce") {
    for (let u = 0; u < window!.unroll; u++) total!.add(u, term(e, stage, valueOf(values, stage.value, u), window!));
  }
}

/** A term of a reduction along the lanes: lanes that do not exist hold the identity. */
function term(e: Emission, stage: NestStage & { kind: "reduce" }, value: Vector, { rest }: Window): Vector {
  if (!rest || e.nest.lanes === "outer") return value;
  return e.f.let(v128.bitselect(value, identityVector(stage.op, stage.dtype), maskFor(stage.dtype, rest.mask)));
}

/** Runs `[from, to)` in blocks of fixed size, each opened and closed. */
function inBlocks(
  e: Emission,
  total: Accumulator,
  from: I32,
  to: I32,
  size: number,
  run: (from: I32, to: I32) => void,
): void {
  const { f } = e;
  const start = f.local("i32");
  f.for(start, from, to, size, () => {
    total.open();
    run(start, smaller(e, i32.add(start, size), to));
    total.close();
  });
}

/** The address in each row of the cache of the `index`-th piece of `bytes`. */
function cacheRows(
  { f, nest, word, scratch }: Emission,
  index: I32,
  bytes: number,
): ((row: number) => I32) | undefined {
  if (!nest.cache) return undefined;
  const offset = f.let(i32.add(scratch, i32.mul(index, bytes)));
  const rows = Array.from({ length: nest.cache.rows }, (_, row) =>
    f.let(at(offset, i32.const(row), word(nest.cache!.bytes))),
  );
  return (row) => rows[row];
}

// ---- lanes across points: a vector of rows at a time, or no row at all ----

function lanesAcrossPoints(e: Emission, point: Point): void {
  const stages = e.nest.stages.map((stage) => {
    const traits = traitsOf(e, stage);
    const cursors = cursorsOf(stage, point.cursors);
    const prepared = noValues();
    if (isOver(stage, "outer")) {
      evaluate(e, { stage, traits, cursors, reduced: new Map() }, prepared, (i) => traits.uniform[i]);
    }
    return { stage, traits, cursors, prepared };
  });
  walkLanes(e, point.first, point.last, e.nest.stages[0].unroll, (window) => {
    const reduced = new Map<number, readonly Vector[]>();
    stages.forEach(({ stage, traits, cursors, prepared }, index) => {
      const place: Place = { stage, traits, cursors: windowCursors(e, cursors, window), window, reduced };
      if (isOver(stage, "outer")) return vectorOfRow(e, place, intoWindow(e, stage, prepared, window), undefined);
      const total = rowOfVectors(e, place, point, traits);
      if (total) reduced.set(index, total.finish());
    });
  });
}

/** A stage over the row for a vector of points: line after line. */
function rowOfVectors(e: Emission, place: Place, point: Point, traits: Traits): Accumulator | undefined {
  const { stage } = place;
  const { unroll } = place.window!;
  const prepared = noValues();
  const isFixed = (i: number): boolean => traits.fixed[i];
  evaluate(e, place, prepared, isFixed, isFixed);
  const total = stage.kind === "reduce" ? accumulator(e, stage.op, stage.dtype, unroll, false) : undefined;
  const lines = (from: I32, to: I32): void =>
    walk(e, "lines", from, to, place.cursors, (cursors, line) => {
      const cached = cacheRows(e, line.index, 16 * unroll);
      vectorOfRow(e, { ...place, cursors, ...(cached && { cached }) }, copyOf(prepared), total);
    });
  if (total?.blocked) inBlocks(e, total, point.fromLine, point.toLine, BLOCK, lines);
  else lines(point.fromLine, point.toLine);
  return total;
}
