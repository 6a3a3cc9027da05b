import { internal } from "../../errors.ts";
import type { DType } from "../../types.ts";

/** What `wasm` computes with. A node of another dtype is refused where it is written. */
export type WasmDType = Exclude<DType, "f16">;

export function wasmDType(dtype: DType): WasmDType {
  if (dtype === "f16") throw internal("f16 reached wasm");
  return dtype;
}
