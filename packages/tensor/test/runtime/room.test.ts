import { setFlagsFromString } from "node:v8";
import { afterAll, beforeAll, expect, test } from "vitest";
import { init, memory, ones, realize, scope, shutdown, type Tensor } from "../../src/index.ts";

const mib = 2 ** 20;

/** A device of 128 MiB. The limit holds for memories made from now on. */
beforeAll(async () => {
  setFlagsFromString("--wasm-max-mem-pages=2048");
  await init("wasm", { threads: 1 });
});
afterAll(() => shutdown());

test("where there is no room, forgotten tensors make some: a loop without donate and dispose goes on for ever", async () => {
  let w: Tensor = await realize(ones([4 * mib]));
  for (let step = 0; step < 40; step++) {
    w = w.add(1);
    await realize(w);
  }
  expect((await w.slice([0, 1]).data())[0]).toBe(41);
  w.dispose();
});

test("what still does not fit is an error that lists the largest owners by op and scope, and the device goes on", async () => {
  const held = await realize(scope("model/embedding", () => ones([16 * mib]).add(1)));
  const more = scope("model/head", () => held.mul(2));
  await expect(realize(more)).rejects.toThrow(
    /^wasm: out of memory: 64\.0 MiB more do not fit .* Largest owners: add in model\/embedding: 64\.0 MiB/,
  );
  expect(memory().liveBytes).toBeLessThan(65 * mib);
  expect(await held.slice([0, 2]).toArray()).toEqual([2, 2]);
  held.dispose();
});
