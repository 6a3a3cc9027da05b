import type { Instruction, Store, Value } from "../../schedule/plan.ts";
import type { Fours } from "./fours.ts";
import type { Shader } from "./shader.ts";
import { addressOf, insideOf } from "./space.ts";
import { elementType, fromElement, rounded, scalarExpression, toElement, valueType, zeroOf } from "./wgsl.ts";

/** Where a body runs: the names of its coordinates and of the values it is given. */
export interface Site {
  readonly coordinates: readonly string[];
  /** Prefix of the names of its values. */
  readonly prefix: string;
  readonly reduced?: (stage: number) => string;
  readonly result?: string;
  readonly fours?: Fours;
}

/** Straight-line WGSL for a body. */
export const bodyLines = (shader: Shader, body: readonly Instruction[], site: Site): string[] =>
  body.map((_, value) => bodyLine(shader, body, value, site));

/** The statement for a value, which is named by the prefix and its number. */
export function bodyLine(shader: Shader, body: readonly Instruction[], value: Value, site: Site): string {
  const name = (of: Value): string => site.prefix + of;
  const step = body[value];
  const to = name(value);
  const { dtype } = step;
  const is = (expression: string): string => `let ${to} = ${expression};`;
  switch (step.op) {
    case "load":
    case "gather":
      return load(shader, step, to, name, site);
    case "number":
      return is(shader.number(step.slot, dtype));
    case "constant":
      return is(step.value === 0 ? zeroOf[dtype] : shader.constant(step.value, dtype));
    case "coordinate": {
      const at = addressOf(shader, step.view, site.coordinates);
      const inside = insideOf(shader, step.view.bounds, site.coordinates);
      return is(rounded(dtype, `${valueType[dtype]}(${inside ? `select(0, ${at}, ${inside})` : at})`));
    }
    case "inside":
      return is(insideOf(shader, step.bounds, site.coordinates) ?? "true");
    case "map": {
      const operand = body[step.args[step.fn === "where" ? 1 : 0]].dtype;
      return is(scalarExpression(step.fn, operand, dtype, step.args.map(name)));
    }
    case "reduced":
      return is(rounded(dtype, site.reduced!(step.stage)));
    case "result":
      return is(rounded(dtype, site.result!));
  }
}

function load(
  shader: Shader,
  step: Extract<Instruction, { op: "load" | "gather" }>,
  to: string,
  name: (value: Value) => string,
  { coordinates, fours }: Site,
): string {
  const { dtype, buffer, view } = step;
  const type = elementType[dtype];
  const tests: string[] = [];
  let at = addressOf(shader, view, coordinates);
  if (step.op === "gather") {
    const index = name(step.index);
    tests.push(`${index} >= 0 && ${index} < ${shader.int(step.extent)}`);
    at += ` + ${index} * ${shader.int(step.stride)}`;
  }
  const inside = insideOf(shader, view.bounds, coordinates);
  if (inside) tests.push(inside);
  const together = step.op === "load" && fours?.holds(buffer, view) ? fours : undefined;
  const value = fromElement(dtype, together?.read(buffer, type, at) ?? `${shader.read(buffer, type)}[${at}]`);
  if (tests.length === 0) return `let ${to} = ${value};`;
  return `var ${to} = ${zeroOf[dtype]};\nif (${tests.join(" && ")}) { ${to} = ${value}; }`;
}

/** What stores a value of a body: a statement. */
export function storeLines(
  shader: Shader,
  stores: readonly Store[],
  body: readonly Instruction[],
  site: Pick<Site, "coordinates" | "prefix" | "fours">,
): string[] {
  return stores.map(({ buffer, view, value }) => {
    const { dtype } = body[value];
    const type = elementType[dtype];
    const address = addressOf(shader, view, site.coordinates);
    const element = toElement(dtype, site.prefix + value);
    if (site.fours?.holds(buffer, view)) return site.fours.write(buffer, type, address, element);
    const inside = insideOf(shader, view.bounds, site.coordinates);
    const line = `${shader.write(buffer, type)}[${address}] = ${element};`;
    return inside ? `if (${inside}) { ${line} }` : line;
  });
}
