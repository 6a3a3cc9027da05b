import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ConfigError, init, tensor, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { sgd } from "@switchyard/autograd";
import { train } from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { thisProcess } from "../../src/interop/processes.node.ts";
import { lockName, lockRun } from "../../src/training/runLock.ts";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  vi.spyOn(console, "warn").mockImplementation(() => {});
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(dir, { recursive: true });
});

const options = () => ({
  model: {
    init: (_key: Key) => ({ w: zeros([]) }),
    loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.sub(x).square() }),
  },
  data: () => tensor(1),
  optimizer: sgd({ learningRate: 0.1 }),
  steps: 3,
  checkpoint: { dir, every: 1 },
});
const here = await thisProcess();
const listening = process.listenerCount("exit");
const lock = (holder: unknown): Promise<void> => writeFile(join(dir, lockName), JSON.stringify(holder));
const told = (): string => vi.mocked(console.warn).mock.calls.flat().join("\n");

/** Another process that holds the directory. */
async function holder(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [
    "--conditions=source",
    fileURLToPath(new URL("./holder.ts", import.meta.url)),
    dir,
  ]);
  await once(child.stdout, "data");
  return child;
}

describe("while another process trains in a directory", () => {
  test("a run there is refused, naming it; once it is killed, the run goes on at once and says so", async () => {
    const child = await holder();
    const refused = train(options()).finish();
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(new RegExp(`is in use by process ${child.pid} on `));
    expect(told()).toBe("");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect((await train(options()).finish()).step).toBe(2);
    expect(told()).toBe(`switchyard: ${dir} was left by process ${child.pid}, which has ended`);
    expect(await readdir(dir)).toEqual(["metrics.jsonl", "step-2", "step-3"]);
  });

  test("its lock goes with it where it ends of its own accord", async () => {
    const child = await holder();
    child.stdin!.write("\n");
    await once(child, "exit");
    expect(await readdir(dir)).toEqual([]);
  });
});

describe("a lock", () => {
  test("of a process whose number another has got since is taken over", async () => {
    if (here.started === null) return; // the system does not say when processes start: see the next test
    await lock({ ...here, pid: process.ppid, started: "another boot 17" });
    await train(options()).finish();
    expect(told()).toMatch(/was left by process/);
  });

  test("of a process that may be alive is not: the message says what to remove", async () => {
    await lock({ ...here, pid: process.ppid, started: null });
    await expect(train(options()).finish()).rejects.toThrow(
      /in use by process \d+ on .*or remove .*run\.lock if it has/,
    );
    await lock({ ...here, pid: 2 ** 30, host: "elsewhere" });
    await expect(train(options()).finish()).rejects.toThrow(/in use by process 1073741824 on elsewhere; .*or remove/);
    // Containers may share a host's name and count their processes each for itself.
    await lock({ ...here, pid: 2 ** 30, space: "pid:[1]" });
    await expect(train(options()).finish()).rejects.toThrow(/in use by process 1073741824 on .*; .*or remove/);
    await lock({ ...here, space: "pid:[1]" });
    await expect(train(options()).finish()).rejects.toThrow(/in use by process \d+ on .*; .*or remove/);
    await writeFile(join(dir, lockName), "");
    await expect(train(options()).finish()).rejects.toThrow(/run\.lock names no process; remove it/);
  });

  test("is one run's, also within a process, until the run ends, its loop is left, or it fails", async () => {
    for await (const { step } of train(options())) {
      expect(existsSync(join(dir, lockName))).toBe(true);
      const other = train({ ...options(), resume: true }).finish();
      await expect(other).rejects.toThrow(/in use by another run of this process/);
      if (step === 1) break;
    }
    expect(existsSync(join(dir, lockName))).toBe(false);
    const failing = train({ ...options(), data: () => tensor(NaN), resume: true });
    await expect(failing.finish()).rejects.toThrow(/not finite|is NaN/);
    expect(existsSync(join(dir, lockName))).toBe(false);
  });

  test("is held by a dozen runs of one process, each its own, without a warning of Node's", async () => {
    const warned: Error[] = [];
    const note = (warning: Error): void => void warned.push(warning);
    process.on("warning", note);
    const unlocks = await Promise.all(Array.from({ length: 12 }, (_, i) => lockRun(join(dir, `${i}`))));
    await setImmediate();
    process.off("warning", note);
    for (const unlock of unlocks) unlock();
    expect(warned).toEqual([]);
    expect(process.listenerCount("exit")).toBe(listening);
  });

  test("that was left is taken over by one of many who ask at once", async () => {
    await lock({ ...here, pid: 2 ** 30 });
    const asked = await Promise.allSettled(Array.from({ length: 8 }, () => lockRun(dir)));
    const got = asked.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    expect(got).toHaveLength(1);
    got[0]();
    expect(await readdir(dir)).toEqual([]);
  });
});
