/**
 * Turns on 256-bit WebAssembly as `init` does, and says whether that went well. With the argument `wrong`, as on an engine whose kernels
 * go wrong by a bit under the flag.
 */
import { createParts } from "../../../../src/backend/wasm/backend.ts";
import type { PlanRunnerOptions } from "../../../../src/backend/wasm/planRunner.ts";
import { revectorize } from "../../../../src/backend/wasm/revectorize.ts";

const wrong = process.argv[2] === "wrong";

/** A memory in which the last bit of every fourth number is wrong. */
function spoil(parts: PlanRunnerOptions): PlanRunnerOptions {
  const read: PlanRunnerOptions["heap"]["read"] = (...what) => {
    const data = parts.heap.read(...what);
    new Uint32Array(data.buffer, data.byteOffset, data.length)[3] ^= 1;
    return data;
  };
  return { ...parts, heap: { ...parts.heap, read } };
}

try {
  await revectorize((features) => {
    const parts = createParts(features, 0);
    return wrong && features.wide ? spoil(parts) : parts;
  });
  console.log("on");
} catch (error) {
  console.log(String(error));
}
