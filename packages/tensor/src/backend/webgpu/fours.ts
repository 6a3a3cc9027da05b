import type { Instruction, LoopKernel, Stage, Store, View } from "../../schedule/plan.ts";
import type { Lowering } from "./lower.ts";
import type { Shader } from "./shader.ts";
import { isAligned, isOuter } from "./space.ts";

/**
 * Four neighbours along a row at each turn of a walk's loop: what lies together is read and written at once. The statements at each point are
 * a block that is there four times, and `q` says which of the four it is.
 */
export class Fours {
  readonly #shader: Shader;
  readonly #holds: (buffer: number) => boolean;
  readonly #head: string[] = [];
  readonly #tail: string[] = [];

  constructor(shader: Shader, holds: (buffer: number) => boolean) {
    this.#shader = shader;
    this.#holds = holds;
  }

  /** Whether an access is one of four at once. */
  holds(buffer: number, view: View): boolean {
    return isAligned(view) && this.#holds(buffer);
  }

  /** An element, by its own address. */
  read(buffer: number, type: string, address: string): string {
    const name = `four${this.#head.length}`;
    this.#head.push(`let ${name} = ${this.#shader.read(buffer, `vec4<${type}>`)}[(${address}) >> 2u];`);
    return `${name}[q]`;
  }

  /** The statement that stores an element. */
  write(buffer: number, type: string, address: string, element: string): string {
    const name = `four${this.#head.length}`;
    this.#head.push(`var ${name}: vec4<${type}>;`);
    this.#tail.push(`${this.#shader.write(buffer, `vec4<${type}>`)}[(${address}) >> 2u] = ${name};`);
    return `${name}[q] = ${element};`;
  }

  /**
   * A turn of a loop over `r`.
   *
   * @param coordinates statements that find the coordinates of `r`.
   * @param each those at each point.
   */
  turn(coordinates: readonly string[], each: readonly string[]): string[] {
    const block = (q: number): string[] => ["{", `const q = ${q}u;`, "let r = r + q;", ...coordinates, ...each, "}"];
    return [...coordinates, ...this.#head, ...[0, 1, 2, 3].flatMap(block), ...this.#tail];
  }
}

/** Statements of a kernel beyond which it is not written out four times: to compile takes longer than in proportion. */
const mostStatements = 64;

/**
 * What makes the fours of each walk, on an adapter that gains by them: one that runs a loop's every statement for what it is. Nothing is gained
 * where nothing lies together, and a guard is a branch, four of which in a row take such an adapter's compiler tens of seconds. Memory that
 * is anywhere read or written in another way is read and written an element at a time, since what is written can be bound as one type only.
 */
export function foursOf(shader: Shader, { row, stages }: LoopKernel, lowering: Lowering): (() => Fours) | undefined {
  if (!lowering.limits.serial || row.length === 0 || row.at(-1)! % 4 !== 0) return undefined;
  const walked = stages.filter((stage) => !isOuter(stage)).flatMap(statementsOf);
  if (walked.length > mostStatements || walked.some(isGuarded)) return undefined;
  const together = walked.filter((s) => "buffer" in s && isAligned(s.view));
  const single = new Set(
    stages
      .flatMap(statementsOf)
      .flatMap((s) => ("buffer" in s && !together.includes(s) ? [lowering.canonical(s.buffer)] : [])),
  );
  return together.length > 0 ? () => new Fours(shader, (buffer) => !single.has(lowering.canonical(buffer))) : undefined;
}

type Statement = Instruction | Store;

const statementsOf = (stage: Stage): readonly Statement[] =>
  stage.kind === "map" ? [...stage.body, ...stage.stores] : stage.body;

const isGuarded = (s: Statement): boolean =>
  ("op" in s && (s.op === "gather" || s.op === "inside")) || ("view" in s && s.view.bounds !== undefined);
