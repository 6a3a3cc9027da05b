import { DeviceError } from "../../errors.ts";
import { floatOfHalf, halfOfFloat } from "../../half.ts";
import { opName } from "../../node.ts";
import { largestOwners } from "../../runtime/memory.ts";
import { costOf } from "../../schedule/cost.ts";
import type { Plan } from "../../schedule/plan.ts";
import { createScheduler, type Scheduled } from "../../schedule/schedule.ts";
import { hostArray, type DType, type TypedArray } from "../../types.ts";
import type { Allocation, Backend, KernelRun, RunRequest, RunResult } from "../backend.ts";
import { describeAdapter, mapForReading, openDevice, usage, type OpenDevice } from "./gpu.ts";
import { Order } from "./order.ts";
import { Pipelines, type Pipeline } from "./pipelines.ts";
import { Pool, type GpuAllocation } from "./pool.ts";
import { bytesOf, fillParameters, makeProgram, type Program } from "./program.ts";
import { enableHalf } from "./shader.ts";
import { Timing } from "./timing.ts";

/** More buffers to a kernel than this gain nothing. */
const mostBuffers = 16;

/** Workgroups beyond this in one dimension fold into the next. */
const mostGroups = 65_535;

/** @throws {DeviceError} if there is no adapter. */
export async function webgpuBackend(): Promise<Backend> {
  return new WebgpuBackend(await openDevice());
}

class WebgpuBackend implements Backend {
  readonly dtypes: readonly DType[];
  readonly details: Backend["details"];
  readonly #open: OpenDevice;
  readonly #device: GPUDevice;
  readonly #order = new Order();
  readonly #pool: Pool;
  readonly #pipelines: Pipelines;
  readonly #schedule: (request: RunRequest) => Scheduled;
  readonly #programs = new WeakMap<Plan, Ready>();
  /** Rejects when the device is gone. */
  readonly #lost: Promise<never>;
  #failure: DeviceError | undefined;
  #listener: ((run: KernelRun) => void) | undefined;
  #closing = false;

  constructor(open: OpenDevice) {
    this.#open = open;
    this.#device = open.device;
    const { maxStorageBuffersPerShaderStage } = open.device.limits;
    const half: readonly DType[] = open.device.features.has("shader-f16") ? ["f16"] : [];
    this.dtypes = [...half, "f32", "i32", "u32", "bool"];
    this.details = describeAdapter(open);
    this.#pool = new Pool(open.device, (buffer) => this.#order.add(() => buffer.destroy()));
    this.#pipelines = new Pipelines(open.device);
    this.#schedule = createScheduler({ maxBuffers: Math.min(maxStorageBuffersPerShaderStage, mostBuffers) });
    this.#lost = open.device.lost.then(({ reason, message }) => {
      this.#failure ??= this.#closing
        ? new DeviceError("webgpu: the device was shut down; init it again")
        : new DeviceError(`webgpu: the device was lost (${reason}: ${message}); call init("webgpu") again`);
      throw this.#failure;
    });
    this.#lost.catch(() => {});
  }

  get failure(): DeviceError | undefined {
    return this.#failure;
  }

  /** To a device that was lost, into nothing: the run that needs it says so, by name. */
  upload(data: TypedArray, dtype: DType): Allocation {
    const allocation = this.#pool.take(bytesOf({ size: data.length, dtype }));
    const words = wordsOf(data, dtype);
    if (data.length > 0) this.#order.add(() => this.#device.queue.writeBuffer(allocation.buffer, 0, words));
    return allocation;
  }

  run(request: RunRequest): RunResult {
    try {
      return this.#run(request);
    } catch (error) {
      throw attributed(request, error);
    }
  }

  #run(request: RunRequest): RunResult {
    this.#assertAlive();
    const scheduled = this.#schedule(request);
    const ready = this.#ready(scheduled.plan);
    const memory = this.#allocate(scheduled, ready.program);
    const words = fillParameters(ready.program.parameters, scheduled.numbers);
    const waiting = ready.pipelines.filter((p) => !p.ready && !p.failure).map((p) => p.compiling);
    const submitted = new Promise<void>((resolve, reject) => {
      this.#order.add(
        () => this.#submit(ready, memory, words).then(resolve, reject),
        waiting.length > 0 ? Promise.all(waiting) : undefined,
      );
    });
    for (const scratch of memory.scratch) this.#pool.give(scratch);
    const done = Promise.race([submitted, this.#lost]).catch((error: unknown) => {
      throw attributed(request, error);
    });
    done.catch(() => {});
    return { allocations: memory.roots, done };
  }

  async read(allocation: Allocation, dtype: DType, size: number): Promise<TypedArray> {
    this.#assertAlive();
    if (size === 0) return hostArray(dtype, 0);
    const { buffer } = this.#pool.own(allocation);
    const bytes = bytesOf({ size, dtype });
    const staging = this.#device.createBuffer({
      label: "read",
      size: bytes,
      usage: usage.mapRead | usage.copyTarget,
    });
    const mapped = new Promise<void>((resolve, reject) => {
      this.#order.add(() => {
        const encoder = this.#device.createCommandEncoder({ label: "read" });
        encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
        this.#device.queue.submit([encoder.finish()]);
        staging.mapAsync(mapForReading).then(() => resolve(), reject);
      });
    });
    try {
      await Promise.race([mapped, this.#lost]);
    } catch (error) {
      throw asDeviceError(error);
    }
    const words = staging.getMappedRange();
    const out = elementsOf(words, dtype, size);
    staging.destroy();
    return out;
  }

  free(allocation: Allocation): void {
    const own = allocation as GpuAllocation;
    if (!this.#failure && own.pool === this.#pool) this.#pool.give(own);
  }

  /** An adapter without timestamp queries reports kernels that take no time. */
  onKernel(listener: ((run: KernelRun) => void) | undefined): void {
    this.#listener = listener;
  }

  poolBytes(): number {
    return this.#pool.freeBytes;
  }

  async shutdown(): Promise<void> {
    this.#closing = true;
    await Promise.race([this.#order.settled(), this.#lost]).catch(() => {});
    this.#open.close();
    await this.#lost.catch(() => {});
  }

  #assertAlive(): void {
    if (this.#failure) throw this.#failure;
  }

  /** @throws {DeviceError} if the plan holds f16 and the adapter has none. */
  #ready(plan: Plan): Ready {
    let ready = this.#programs.get(plan);
    if (!ready) {
      const { maxComputeWorkgroupStorageSize, minUniformBufferOffsetAlignment } = this.#device.limits;
      const program = makeProgram(plan, {
        workgroupBytes: maxComputeWorkgroupStorageSize,
        serial: this.#open.adapter.info.isFallbackAdapter,
        subgroups: this.#open.subgroups,
        matrices: this.#open.matrices,
        alignment: minUniformBufferOffsetAlignment,
      });
      if (!this.dtypes.includes("f16") && program.dispatches.some(({ code }) => code.startsWith(enableHalf)))
        throw new DeviceError("webgpu: this adapter has no f16 (the feature shader-f16); cast to f32");
      const pipelines = program.dispatches.map((dispatch) => this.#pipelines.get(dispatch));
      ready = { plan, program, pipelines, groups: [] };
      this.#programs.set(plan, ready);
    }
    return ready;
  }

  /** Every buffer of a run: the leaves', the results', scratch and parameters. */
  #allocate({ plan, leaves }: Scheduled, { slots, slotOf, parameters, dispatches }: Program): RunMemory {
    const taken: GpuAllocation[] = [];
    const take = (bytes: number): GpuAllocation => {
      const allocation = this.#pool.take(bytes);
      taken.push(allocation);
      return allocation;
    };
    try {
      const given = leaves.map((leaf) => this.#pool.own(leaf.allocation));
      const roots: GpuAllocation[] = [];
      const named = plan.buffers.map((buffer) => {
        const { source } = buffer;
        if (source.kind === "temporary") return undefined;
        if (source.kind === "leaf") return given[source.index].buffer;
        const allocation = source.reuses === undefined ? take(bytesOf(buffer)) : given[source.reuses];
        roots[source.index] = allocation;
        return allocation.buffer;
      });
      const first = taken.length;
      const pieces = slots.map((bytes) => take(bytes));
      const words = take(Math.max(parameters.words.byteLength, 16));
      const buffers = dispatches.map(({ bindings }) =>
        bindings.map(({ buffer }) => {
          const slot = slotOf.get(buffer);
          return slot === undefined ? named[buffer]! : pieces[slot].buffer;
        }),
      );
      return { roots, scratch: taken.slice(first), parameters: words.buffer, buffers };
    } catch (error) {
      for (const allocation of taken) this.#pool.give(allocation);
      throw error;
    }
  }

  /** Encodes and submits a run whose pipelines are compiled. */
  async #submit(ready: Ready, memory: RunMemory, words: Int32Array<ArrayBuffer>): Promise<void> {
    const failed = ready.pipelines.find((p) => p.failure);
    if (failed) throw failed.failure!;
    const device = this.#device;
    const listener = this.#listener;
    const { dispatches } = ready.program;
    const timed = listener && device.features.has("timestamp-query") && dispatches.length > 0;
    const timing = timed ? new Timing(device, dispatches.length) : undefined;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    if (words.length > 0) device.queue.writeBuffer(memory.parameters, 0, words);
    const encoder = device.createCommandEncoder({ label: "run" });
    let pass = timing ? undefined : encoder.beginComputePass({ label: "run" });
    dispatches.forEach(({ label }, i) => {
      if (timing) pass = encoder.beginComputePass({ label, timestampWrites: timing.writes(i) });
      this.#encode(pass!, ready, memory, i);
      if (timing) pass!.end();
    });
    if (timing) timing.finish(encoder);
    else pass!.end();
    device.queue.submit([encoder.finish()]);
    const [invalid, exhausted] = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    this.#check(invalid, exhausted);
    await device.queue.onSubmittedWorkDone();
    if (listener) report(ready, (await timing?.read()) ?? dispatches.map(() => 0), listener);
  }

  #encode(pass: GPUComputePassEncoder, { program, pipelines, groups }: Ready, memory: RunMemory, i: number): void {
    const { workgroups, label } = program.dispatches[i];
    const { layout, ready } = pipelines[i];
    const bound = [memory.parameters, ...memory.buffers[i]];
    let group = groups[i];
    if (!group || group.buffers.some((buffer, j) => buffer !== bound[j])) {
      groups[i] = group = { buffers: bound, group: this.#bind(layout, bound, blockBytes(program, i), label) };
    }
    pass.setPipeline(ready!);
    pass.setBindGroup(0, group.group, [program.parameters.offsets[i]]);
    const across = Math.min(workgroups, mostGroups);
    pass.dispatchWorkgroups(across, Math.ceil(workgroups / across));
  }

  /** @throws {DeviceError} if the device reported a fault. */
  #check(invalid: GPUError | null, exhausted: GPUError | null): void {
    if (exhausted ?? this.#pool.exhausted) {
      this.#pool.recover();
      throw new DeviceError(`webgpu: out of memory. Largest owners: ${largestOwners("webgpu")}`);
    }
    if (invalid) throw new DeviceError(`webgpu: internal: ${invalid.message}`);
  }

  #bind(
    layout: GPUBindGroupLayout,
    [parameters, ...storage]: readonly GPUBuffer[],
    bytes: number,
    label: string,
  ): GPUBindGroup {
    return this.#device.createBindGroup({
      label,
      layout,
      entries: [
        { binding: 0, resource: { buffer: parameters, size: bytes } },
        ...storage.map((buffer, i) => ({ binding: i + 1, resource: { buffer } })),
      ],
    });
  }
}

/** Host elements as a device keeps them, in whole words. */
function wordsOf(data: TypedArray, dtype: DType): TypedArray & ArrayBufferView<ArrayBuffer> {
  if (dtype === "bool") return Uint32Array.from(data);
  if (dtype !== "f16") return data as TypedArray & ArrayBufferView<ArrayBuffer>;
  const halves = new Uint16Array(Math.ceil(data.length / 2) * 2);
  data.forEach((x, i) => (halves[i] = halfOfFloat(x)));
  return new Uint32Array(halves.buffer);
}

/** A device's words as host elements. */
function elementsOf(words: ArrayBuffer, dtype: DType, size: number): TypedArray {
  if (dtype === "f16") return Float32Array.from(new Uint16Array(words, 0, size), floatOfHalf);
  const out = hostArray(dtype, size);
  if (dtype === "bool") out.set(new Uint32Array(words, 0, size));
  else new Uint8Array(out.buffer).set(new Uint8Array(words, 0, out.byteLength));
  return out;
}

const asDeviceError = (error: unknown): DeviceError =>
  error instanceof DeviceError ? error : new DeviceError(`webgpu: ${(error as Error).message}`);

/** An error that names what was asked for, with the user's lines in debug. What does not come of the device stays as it is. */
function attributed({ roots }: RunRequest, error: unknown): unknown {
  if (error instanceof Error && !(error instanceof DeviceError) && error.message.startsWith("internal:")) return error;
  const names = roots.map((node) => opName(node) + (node.provenance.line ? ` at ${node.provenance.line}` : ""));
  const more = names.length > namedRoots ? ` and ${names.length - namedRoots} more` : "";
  const { message } = asDeviceError(error);
  return new DeviceError(`${names.slice(0, namedRoots).join(", ")}${more}: ${message}`, { cause: error });
}

/** A training step has hundreds of results; the first tell which step it was. */
const namedRoots = 3;

/** A program with its pipelines and the bind groups of its last run, which the next one can often use again. */
interface Ready {
  readonly plan: Plan;
  readonly program: Program;
  readonly pipelines: readonly Pipeline[];
  readonly groups: { readonly buffers: readonly GPUBuffer[]; readonly group: GPUBindGroup }[];
}

interface RunMemory {
  readonly roots: readonly GpuAllocation[];
  /** Given back as soon as the run is queued. */
  readonly scratch: readonly GpuAllocation[];
  readonly parameters: GPUBuffer;
  /** By dispatch and binding. */
  readonly buffers: readonly (readonly GPUBuffer[])[];
}

/** Tells a listener of each kernel of a run. */
function report({ plan, program }: Ready, ms: readonly number[], listener: (run: KernelRun) => void): void {
  const totals = plan.kernels.map(() => 0);
  program.kernels.forEach((kernel, i) => (totals[kernel] += ms[i]));
  plan.kernels.forEach((kernel, i) => listener({ name: kernel.name, ms: totals[i], ...costOf(kernel, plan) }));
}

/** The size of a dispatch's parameter block as its shader declares it. */
const blockBytes = ({ dispatches }: Program, i: number): number =>
  Math.max(Math.ceil(dispatches[i].words.length / 4), 1) * 16;
