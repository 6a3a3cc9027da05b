/** Who takes part, and how each one's process is started. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface ContestantKind {
  readonly command: string;
  readonly args: readonly string[];
  readonly options?: { readonly threads?: number; readonly revectorize?: boolean };
}

const here = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

const javascript = (module: string, flags: readonly string[] = [], options = {}): ContestantKind => ({
  command: process.execPath,
  args: ["--conditions=source", "--no-warnings", "--expose-gc", ...flags, here("runner/host.ts"), here(module)],
  options,
});

/** V8 fuses 128-bit operations under this flag in the whole process: a peer that has it needs a process of its own. */
const revectorize = ["--experimental-wasm-revectorize"];

/** Started where an adapter is: the machine's own, or else a software one. */
const onGpu = (module: string): ContestantKind => {
  const { command, args } = javascript(module);
  return { command, args: ["--no-warnings", adapter, ...args] };
};
const adapter = here("../packages/tensor/test/backend/webgpu/adapter.ts");

/** The interpreter that has PyTorch, if any has. */
const python = process.env.PYTHON ?? "python3";

export const contestantKinds = {
  switchyard: javascript("peers/switchyard/peer.ts"),
  "switchyard revectorized": javascript("peers/switchyard/peer.ts", [], { revectorize: true }),
  "switchyard 1 thread": javascript("peers/switchyard/peer.ts", [], { threads: 1 }),
  "switchyard 1 thread revectorized": javascript("peers/switchyard/peer.ts", [], { threads: 1, revectorize: true }),
  "tfjs-wasm": javascript("peers/tfjs/wasm.ts"),
  "tfjs-wasm revectorized": javascript("peers/tfjs/wasm.ts", revectorize),
  "tfjs-cpu": javascript("peers/tfjs/cpu.ts"),
  "jax-js": javascript("peers/jax/peer.ts"),
  "jax-js revectorized": javascript("peers/jax/peer.ts", revectorize),
  "switchyard webgpu": onGpu("peers/switchyard/webgpu.ts"),
  "tfjs-webgpu": onGpu("peers/tfjs/webgpu.ts"),
  "jax-js webgpu": onGpu("peers/jax/webgpu.ts"),
  PyTorch: { command: python, args: [here("peers/torch/peer.py")] },
  "Mixtral block of transformers": { command: python, args: [here("peers/torch/peer.py"), "stock"] },
} satisfies { [name: string]: ContestantKind };

export type ContestantName = keyof typeof contestantKinds;

/** What a contestant's interpreter must be able to import. */
const imports: { readonly [N in ContestantName]?: string } = {
  PyTorch: "torch",
  "Mixtral block of transformers": "transformers.models.mixtral.modeling_mixtral",
};

/** Why a contestant cannot take part on this machine, or undefined. */
export function absence(name: ContestantName): string | undefined {
  const module = imports[name];
  if (module === undefined) return undefined;
  try {
    execFileSync(python, ["-c", `import ${module}`], { stdio: "ignore" });
    return undefined;
  } catch {
    return `${python} cannot import ${module}`;
  }
}
