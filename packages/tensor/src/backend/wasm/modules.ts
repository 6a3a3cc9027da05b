import { mathImports } from "./math.ts";
import type { Launch } from "./launch.ts";
import type { RunTiles } from "./walker.ts";

/** Compiled modules, numbered in the order of their first use. */
export interface Modules {
  readonly compiled: readonly WebAssembly.Module[];
  /** The number of the launch's module, compiling it if there is none with its key. */
  readonly numberOf: (launch: Launch) => number;
  /** The functions to run them with on this thread, instantiated as they are asked for. */
  readonly instances: (kernels: Iterable<number>) => readonly RunTiles[];
}

export function createModules(memory: WebAssembly.Memory): Modules {
  const numbers = new Map<string, number>();
  const compiled: WebAssembly.Module[] = [];
  const running: RunTiles[] = [];

  function numberOf({ key, emit }: Launch): number {
    let number = numbers.get(key);
    if (number === undefined) {
      number = compiled.push(new WebAssembly.Module(emit() as Uint8Array<ArrayBuffer>)) - 1;
      numbers.set(key, number);
    }
    return number;
  }

  /** A module that cannot be linked fails where it is run, as a kernel that traps. */
  function instantiate(module: WebAssembly.Module): RunTiles {
    try {
      return new WebAssembly.Instance(module, { env: { memory }, math: mathImports }).exports.run as RunTiles;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }

  function instances(kernels: Iterable<number>): readonly RunTiles[] {
    for (const kernel of kernels) running[kernel] ??= instantiate(compiled[kernel]);
    return running;
  }

  return { compiled, numberOf, instances };
}
