import { expect, test } from "vitest";
import { size } from "./size.ts";

test("a page that trains a mixture is bundled for browsers, and grows on purpose only", async () => {
  const { bars } = await size.run();
  expect(Number.parseFloat(bars[0].measured)).toBeLessThan(93);
});
