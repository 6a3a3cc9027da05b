import { fileURLToPath } from "node:url";
import { init } from "@switchyard/tensor";
import { expect, test } from "vitest";
import { goOn } from "../fromHuggingFace.ts";

test("a model of transformers goes on with a text, in words of its tokenizer", async () => {
  await init("wasm");
  const dir = fileURLToPath(new URL("../../packages/moe/test/interop/hf/olmoe", import.meta.url));
  const pieces = await Array.fromAsync(goOn(dir, "Call me", 12));
  expect([pieces.length, pieces[0]]).toEqual([13, "Call me"]);
  expect(pieces.join("")).toMatch(/^Call me[ A-Za-z,.]+$/);
});
