/** A contestant's process: `node host.ts <module of a peer>`. Answers requests from standard input until it closes. */
import { createInterface } from "node:readline";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Peer, Task, TaskName } from "../tasks.ts";
import { mark, strideOf, type Replies, type Request } from "./protocol.ts";

const { peer } = (await import(pathToFileURL(resolve(process.argv[2])).href)) as { peer: Peer };
const tasks: Task[] = [];

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as Request;
  const reply = await answer(request).then(
    (value) => ({ value }),
    (error: Error) => ({ error: error.stack ?? String(error) }),
  );
  process.stdout.write(`${mark}${JSON.stringify(reply)}\n`);
}
// A peer's worker threads or its own timers must not keep the process.
process.exit(0);

async function answer(request: Request): Promise<Replies[keyof Replies]> {
  switch (request.ask) {
    case "start":
      return peer.start(request);
    case "prepare":
      return prepare(request);
    case "sample":
      return sample(tasks[request.trial]);
    case "time":
      return time(tasks[request.trial], request.ms, request.atMost);
    case "profile":
      return peer.profile ? peer.profile(tasks[request.trial]) : null;
    case "ceilings":
      return peer.ceilings ? peer.ceilings() : null;
    case "drop":
      for (const task of tasks.splice(0)) task?.end?.();
      return null;
  }
}

async function prepare({
  trial,
  task: name,
  sizes,
  seed,
  warmUp,
}: Extract<Request, { ask: "prepare" }>): Promise<string | null> {
  const make = peer.tasks[name as TaskName] as ((sizes: object, seed: number) => Task | Promise<Task>) | undefined;
  if (!make) return `has no ${name}`;
  tasks[trial] = await make(sizes, seed);
  await time(tasks[trial], warmUp, 200);
  return null;
}

async function time(work: Task, ms: number, atMost: number): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + ms;
  do {
    const began = performance.now();
    await work.run();
    times.push(performance.now() - began);
  } while (performance.now() < end && times.length < atMost);
  return times;
}

async function sample(work: Task): Promise<Replies["sample"]> {
  const outputs = Object.entries(await work.outputs());
  return Object.fromEntries(outputs.map(([name, values]) => [name, encode(values)]));
}

function encode(values: Float32Array): string {
  const stride = strideOf(values.length);
  const some = values.filter((_, i) => i % stride === 0);
  return Buffer.from(some.buffer, some.byteOffset, some.byteLength).toString("base64");
}
