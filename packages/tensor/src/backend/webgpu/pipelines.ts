import { DeviceError } from "../../errors.ts";
import { computeStage } from "./gpu.ts";
import type { Dispatch } from "./shader.ts";

/** A compiled shader, or one that is being compiled. */
export interface Pipeline {
  readonly layout: GPUBindGroupLayout;
  readonly compiling: Promise<void>;
  ready?: GPUComputePipeline;
  failure?: DeviceError;
}

/** Pipelines kept; the one used longest ago goes first. */
const cachedPipelines = 4096;

/** Compiled shaders by their code, which holds nothing that changes with shapes. They compile in parallel, off this thread. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a dispatch; starts compiling it if it is new. */
  get(dispatch: Dispatch): Pipeline {
    const { code } = dispatch;
    const pipeline = this.#pipelines.get(code) ?? this.#compile(dispatch);
    this.#pipelines.delete(code);
    this.#pipelines.set(code, pipeline);
    if (this.#pipelines.size > cachedPipelines) this.#pipelines.delete(this.#pipelines.keys().next().value!);
    return pipeline;
  }

  #compile({ label, code, bindings }: Dispatch): Pipeline {
    const layout = this.#layout(bindings);
    const device = this.#device;
    const module = device.createShaderModule({ label, code });
    const compiled = device.createComputePipelineAsync({
      label,
      layout: device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    const pipeline: Pipeline = {
      layout,
      compiling: compiled.then(
        (ready) => void (pipeline.ready = ready),
        (error: Error) => {
          pipeline.failure = new DeviceError(
            `webgpu: internal: the kernel ${label} does not compile: ${error.message}\n${code}`,
          );
        },
      ),
    };
    return pipeline;
  }

  #layout(bindings: Dispatch["bindings"]): GPUBindGroupLayout {
    const pattern = bindings.map(({ write }) => (write ? "w" : "r")).join("");
    let layout = this.#layouts.get(pattern);
    if (!layout) {
      const storage = bindings.map(({ write }, i) => ({
        binding: i + 1,
        visibility: computeStage,
        buffer: { type: write ? ("storage" as const) : ("read-only-storage" as const) },
      }));
      const uniform = { type: "uniform", hasDynamicOffset: true } as const;
      layout = this.#device.createBindGroupLayout({
        label: pattern,
        entries: [{ binding: 0, visibility: computeStage, buffer: uniform }, ...storage],
      });
      this.#layouts.set(pattern, layout);
    }
    return layout;
  }
}
