/** What this engine's WebAssembly can do, found by validating tiny modules: never by version. */
import { DeviceError } from "../../errors.ts";
import type { InitOptions } from "../../runtime/devices.ts";
import { assemble, f32x4, i32, type EmitOptions } from "./assembler.ts";

export interface Features {
  readonly simd: boolean;
  /** Relaxed SIMD is there, and wanted. */
  readonly relaxedMadd: boolean;
  /** Shared memories and atomics. A page also needs cross-origin isolation before it may create a shared memory. */
  readonly threads: boolean;
  /** V8 was asked to fuse adjacent 128-bit operations into 256-bit ones. No module can tell. */
  readonly wide: boolean;
}

/** What every module is emitted with. */
export const emitOptions = ({ threads, relaxedMadd }: Features): EmitOptions => ({ shared: threads, relaxedMadd });

/** @throws {DeviceError} if relaxed SIMD is asked for and not there. */
export function detectFeatures({
  relaxedSimd,
  revectorize = false,
}: Pick<InitOptions, "relaxedSimd" | "revectorize"> = {}): Features {
  const relaxed = WebAssembly.validate(vectorModule(true));
  if (relaxedSimd && !relaxed)
    throw new DeviceError("wasm: this engine has no relaxed SIMD; leave relaxedSimd out to use it where it is");
  return {
    simd: WebAssembly.validate(vectorModule(false)),
    relaxedMadd: relaxedSimd ?? relaxed,
    threads: typeof SharedArrayBuffer !== "undefined" && WebAssembly.validate(atomicModule()),
    wide: revectorize,
  };
}

function vectorModule(relaxedMadd: boolean): Uint8Array<ArrayBuffer> {
  return assemble({ shared: false, relaxedMadd }, (m) => {
    m.define({ x: "v128" }, "v128", (f, { x }) => f.return(f32x4.madd(x, x, x)));
  });
}

function atomicModule(): Uint8Array<ArrayBuffer> {
  return assemble({ shared: true, relaxedMadd: false }, (m) => {
    m.importMemory("env", "memory");
    m.define({ at: "i32" }, "i32", (f, { at }) => f.return(i32.atomicAdd(at, 1)));
  });
}
