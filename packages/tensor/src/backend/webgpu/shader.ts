import { hostArrayFrom, type DType } from "../../types.ts";
import { libraryFor } from "./library.ts";
import { heldAs } from "./wgsl.ts";

/** A 32-bit word of a dispatch's parameters: an integer, or a run-time number of the plan in its dtype. */
export type Word = number | { readonly slot: number; readonly dtype: DType };

/**
 * One dispatch of a plan. `code` holds no extents, strides or numbers, which are the `words`: so it is its pipeline's key, and a
 * new shape compiles nothing.
 */
export interface Dispatch {
  readonly label: string;
  readonly code: string;
  /** Storage buffers by binding, from 1. Plan buffers count from 0, a kernel's own scratch from -1 down. */
  readonly bindings: readonly Binding[];
  readonly words: readonly Word[];
  readonly workgroups: number;
}

export interface Binding {
  readonly buffer: number;
  readonly write: boolean;
}

/** A parameter, which is an i32, as a value. */
function fromWord(word: string, dtype: DType): string {
  if (dtype === "bool") return `(${word} != 0)`;
  return dtype === "i32" ? word : `bitcast<${heldAs(dtype)}>(${word})`;
}

/** How a shader begins that reads or writes f16. */
export const enableHalf = "enable f16;\n";

/** Invocations of every workgroup but a matrix product's: what any adapter has. */
export const workgroupSize = 256;

/** The sizes that the subgroups of a device's pipelines may have: powers of 2. */
export interface SubgroupSizes {
  readonly least: number;
  readonly most: number;
  /** Whether a kernel can ask for its size, which on Vulkan also promises that subgroups are full. */
  readonly control: boolean;
}

/**
 * Collects what one compute shader binds and the parameters it reads. `canonical` names one of the plan's buffers for all that
 * share its memory (a result written over a donated leaf): WebGPU binds memory once if it is written.
 */
export class Shader {
  readonly #canonical: (buffer: number) => number;
  readonly #serial: boolean;
  readonly #bindings: { buffer: number; type: string; write: boolean }[] = [];
  readonly #words: Word[] = [];
  readonly declarations: string[] = [];
  #subgroups: SubgroupSizes | undefined;

  constructor(canonical: (buffer: number) => number, { serial }: { readonly serial: boolean }) {
    this.#canonical = canonical;
    this.#serial = serial;
  }

  /**
   * Numbers the invocations subgroup by subgroup: `local` counts through a subgroup before it goes on to the next. WGSL does not say which
   * `local_invocation_index` a subgroup's have. A workgroup must be a multiple of the largest size. In each run of `least` neighbours that begins
   * at a multiple, `subgroup_lane` then counts up from a multiple too, whatever size the pipeline got.
   */
  useSubgroups(sizes: SubgroupSizes): void {
    this.#subgroups = sizes;
  }

  /** An i32 parameter. */
  int(value: number): string {
    return this.#word(value);
  }

  /** A u32 parameter. */
  uint(value: number): string {
    return `u32(${this.#word(value)})`;
  }

  /** A run-time number of the plan. */
  number(slot: number, dtype: DType): string {
    const word = this.#word({ slot, dtype });
    return fromWord(word, dtype);
  }

  /** A constant that is data here, since WGSL rejects some as literals. */
  constant(value: number, dtype: DType): string {
    const cell = hostArrayFrom(heldAs(dtype), hostArrayFrom(dtype, [value]));
    const word = dtype === "bool" ? value : new Int32Array(cell.buffer)[0];
    return fromWord(this.#word(word), dtype);
  }

  #word(word: Word): string {
    const at = this.#words.push(word) - 1;
    return `P[${at >> 2}].${"xyzw"[at & 3]}`;
  }

  /** The name of a buffer's array, whose elements are `type`. */
  read(buffer: number, type: string): string {
    return this.#bind(buffer, type, false);
  }

  write(buffer: number, type: string): string {
    return this.#bind(buffer, type, true);
  }

  #bind(buffer: number, type: string, write: boolean): string {
    const memory = this.#canonical(buffer);
    let at = this.#bindings.findIndex((b) => b.buffer === memory && b.type === type);
    if (at < 0) at = this.#bindings.push({ buffer: memory, type, write }) - 1;
    else this.#bindings[at].write ||= write;
    return `b${at}`;
  }

  /** @param main the entry point's body; it sees `group`, `local` and whatever was declared. */
  finish(label: string, main: string, workgroups: number, size: number = workgroupSize): Dispatch {
    const bindings = this.#bindings.map(
      ({ type, write }, i) =>
        `@group(0) @binding(${i + 1}) var<storage, ${write ? "read_write" : "read"}> b${i}: array<${type}>;`,
    );
    const count = Math.max(Math.ceil(this.#words.length / 4), 1);
    const { enable, attribute, builtins, local } = invocations(this.#subgroups);
    const own = `${this.declarations.join("\n")}
@compute @workgroup_size(${size})${attribute}
fn main(@builtin(workgroup_id) at: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>, ${builtins}) {${local}
let group = at.x + at.y * grid.x;
${this.#serial ? withParametersRead(main) : main}
}`;
    const called = libraryFor(own);
    const half = /\bf16\b/.test(bindings.join() + called + own) ? enableHalf : "";
    const matrices = own.includes("subgroup_matrix_") ? "enable chromium_experimental_subgroup_matrix;\n" : "";
    const code = `${half}${enable}${matrices}@group(0) @binding(0) var<uniform> P: array<vec4<i32>, ${count}>;
${bindings.join("\n")}
${called}
${own}
`;
    return { label, code, bindings: this.#bindings, words: this.#words, workgroups };
  }
}

/** Reads each parameter once. Elsewhere a compiler takes them out of loops by itself. */
function withParametersRead(main: string): string {
  const names = new Set<string>();
  const rest = main.replace(/\bP\[(\d+)\]\.([xyzw])/g, (_, at: string, part: string) => {
    names.add(`P${at}${part}`);
    return `P${at}${part}`;
  });
  const reads = [...names].map((name) => `let ${name} = P[${name.slice(1, -1)}].${name.at(-1)!};`);
  return `${reads.join("\n")}\n${rest}`;
}

/** How an entry point knows its invocations. */
function invocations(
  subgroups: SubgroupSizes | undefined,
): Record<"enable" | "attribute" | "builtins" | "local", string> {
  if (!subgroups)
    return { enable: "", attribute: "", builtins: "@builtin(local_invocation_index) local: u32", local: "" };
  const { least, most, control } = subgroups;
  const fixed = control && least === most;
  return {
    enable: `enable subgroups;\n${fixed ? "enable subgroup_size_control;\n" : ""}`,
    attribute: fixed ? ` @subgroup_size(${least})` : "",
    builtins:
      "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) subgroup_size: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32",
    local: "\nlet local = subgroup * subgroup_size + subgroup_lane;",
  };
}
