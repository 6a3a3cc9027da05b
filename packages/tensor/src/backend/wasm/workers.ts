import { DeviceError } from "../../errors.ts";
import { specialFunctions } from "../../special.ts";
import { mathFunctions } from "./math.ts";
import { layout, serve, walk, type Boot, type Errand } from "./walker.ts";

/** A worker thread, of Node or of a page. */
export interface WorkerThread {
  readonly postMessage: (message: Boot | Errand) => void;
  /** Whether the process must wait for it. A page has no such notion. */
  readonly hold: (held: boolean) => void;
  readonly terminate: () => Promise<void>;
}

interface WorkerEvents {
  readonly finished: (program: number) => void;
  /** It ended or failed outside a kernel, and will not answer again. */
  readonly lost: (reason: Error) => void;
}

/** The whole worker as text: no file beside the module, which bundlers would lose. */
export const workerSource = (): string => `"use strict";
// esbuild's keepNames wraps functions in a helper of this name.
var __name = (f) => f;
const port = typeof require === "function" ? require("node:worker_threads").parentPort : self;
(${serve})(port, ${walk}, (${mathFunctions})((${specialFunctions})()), ${JSON.stringify(layout)});
`;

/** Starts a worker. @throws {DeviceError} where there are none. */
export function startWorker(name: string, events: WorkerEvents): WorkerThread {
  if (typeof process !== "undefined" && process.versions?.node) return startInNode(name, events);
  if (typeof Worker === "undefined")
    throw new DeviceError("wasm: this environment has no workers; init with threads: 0");
  return startInPage(name, events);
}

function startInNode(name: string, events: WorkerEvents): WorkerThread {
  const threads = process.getBuiltinModule?.("node:worker_threads");
  if (!threads) throw new DeviceError(`wasm: worker threads need Node 20.16 or later (this is ${process.version})`);
  const worker = new threads.Worker(workerSource(), {
    eval: true,
    name,
    // Flags such as --input-type would make the source something else than a script.
    execArgv: [],
    // Each message leaves a little behind: with V8's room for young objects, it would take tens of thousands of steps to fill.
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
  });
  let ending = false;
  worker.on("message", (program: number) => events.finished(program));
  worker.on("error", (error: Error) => events.lost(error));
  worker.on("exit", (code) => !ending && events.lost(new Error(`the worker exited with code ${code}`)));
  worker.unref();
  return {
    postMessage: (message) => worker.postMessage(message),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    async terminate() {
      ending = true;
      await worker.terminate();
    },
  };
}

function startInPage(name: string, events: WorkerEvents): WorkerThread {
  const url = URL.createObjectURL(new Blob([workerSource()], { type: "text/javascript" }));
  const worker = new Worker(url, { name });
  worker.onmessage = ({ data }: MessageEvent<number>) => {
    events.finished(data);
  };
  worker.onerror = (event) =>
    events.lost(
      new Error(
        event.message || "the worker failed to start; does the content-security policy allow worker-src blob: ?",
      ),
    );
  return {
    postMessage: (message) => worker.postMessage(message),
    hold: () => {},
    async terminate() {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}
