import { init } from "@switchyard/tensor";
import { beforeAll, expect, test } from "vitest";
import { compare } from "../collapse.ts";

beforeAll(() => init("wasm"));

test("a mixture collapses when nothing holds it, losses or a bias keep its experts in use, and then it fits better", async () => {
  const [alone, losses, bias] = await Array.fromAsync(compare(300));
  expect(alone.effectiveExperts).toBeLessThan(4);
  for (const cured of [losses, bias]) {
    expect(cured.effectiveExperts).toBeGreaterThan(6);
    expect(cured.error).toBeLessThan(0.95 * alone.error);
  }
});
