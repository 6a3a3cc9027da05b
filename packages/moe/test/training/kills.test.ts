import { expect, test } from "vitest";
import { killRuns } from "./kills.ts";

const kills = process.env.SWITCHYARD_DEEP ? 50 : 2;

test(`a run killed at ${kills} random moments has the log, the weights and the state, bit for bit, of one that was not`, async () => {
  const outcome = await killRuns(kills, Math.random);
  expect(outcome).toMatchObject({ kills, different: 0 });
}, 600_000);
