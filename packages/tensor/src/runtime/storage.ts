import { DeviceError, DisposedError, internal } from "../errors.ts";
import { describe, sizeOf } from "../shape.ts";
import { deviceBytes, type DeviceName, type DType, type Shape, type TypedArray } from "../types.ts";
import type { Allocation, Backend } from "../backend/backend.ts";
import { debugging } from "../provenance.ts";
import { warnOfLeak } from "./debug.ts";
import { ledgerOf, type DeviceLedger } from "./memory.ts";

/** Who made a tensor, for error messages and lists of owners. */
export interface Owner {
  readonly op: string;
  readonly scope: string;
  readonly line?: string;
}

/**
 * What a finalizer may hold: everything needed to give memory back, and no reference to the storage itself.
 */
interface Cell {
  readonly ledger: DeviceLedger;
  readonly bytes: number;
  held?: { readonly allocation: Allocation; readonly by: Backend };
}

const finalizers = new FinalizationRegistry<Cell>((cell) => {
  const owner = cell.ledger.owners.get(cell);
  if (owner && debugging()) warnOfLeak(owner, cell.bytes);
  giveBack(cell);
});

function giveBack(cell: Cell): void {
  if (!cell.ledger.owners.delete(cell)) return;
  cell.ledger.liveTensors--;
  cell.ledger.liveBytes -= cell.bytes;
  cell.held?.by.free(cell.held.allocation);
  cell.held = undefined;
}

/**
 * The elements of a realized tensor: on the host until a device first needs them, in a device buffer after. Owned by handles;
 * pinned by requests under way, so that disposing takes effect at once for the program and after the work for the memory.
 */
export class Storage {
  readonly device: DeviceName;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly owner: Owner;
  /** Elements not yet on the device. */
  host: TypedArray | undefined;
  /** How many live handles own this storage. */
  handles = 1;
  /** Settles when the elements are there; rejects with the error of the realize that failed. */
  ready: Promise<void> = Promise.resolve();
  /** While what this is computed from is still on its way from another device: settles when the work has been queued. */
  delayed: Promise<void> | undefined;
  #failure: unknown;
  #pins = 0;
  #gone: { readonly how: string; readonly line?: string } | undefined;
  readonly #cell: Cell;

  constructor(device: DeviceName, shape: Shape, dtype: DType, owner: Owner) {
    this.device = device;
    this.shape = shape;
    this.dtype = dtype;
    this.owner = owner;
    const ledger = ledgerOf(device);
    const bytes = sizeOf(shape) * deviceBytes(dtype);
    this.#cell = { ledger, bytes };
    ledger.owners.set(this.#cell, owner);
    ledger.liveTensors++;
    ledger.liveBytes += bytes;
    ledger.peakBytes = Math.max(ledger.peakBytes, ledger.liveBytes);
    finalizers.register(this, this.#cell, this.#cell);
  }

  get bytes(): number {
    return this.#cell.bytes;
  }

  /** The device buffer, if there is one yet. */
  get allocation(): Allocation | undefined {
    return this.#cell.held?.allocation;
  }

  /** @throws {DeviceError} if the buffer went with a device that was shut down. */
  allocationOn(backend: Backend): Allocation {
    const { held } = this.#cell;
    if (!held) throw internal(`${this.owner.op}: a tensor reached the device without its elements`);
    if (held.by === backend) return held.allocation;
    throw new DeviceError(
      `${describe(this)} made by ${this.owner.op}${at(this.owner.line)} went when ${this.device} was shut down or lost; read it before, or make it again`,
    );
  }

  /** Puts the device buffer in place; `by` takes it back. */
  attach(allocation: Allocation, by: Backend): void {
    if (!this.#cell.ledger.owners.has(this.#cell)) return by.free(allocation);
    this.#cell.held = { allocation, by };
    this.delayed = undefined;
    this.host = undefined;
  }

  /** Takes the device buffer away without giving it back: a plan has written its result in place. */
  detach(): void {
    this.#cell.held = undefined;
  }

  /** What kept the elements from being computed, if anything did. */
  get failure(): unknown {
    return this.#failure;
  }

  /** The elements will never be there: whoever needs them gets the error, and the memory is free. */
  fail(error: unknown): void {
    this.#failure = error;
    this.#free();
  }

  get isGone(): boolean {
    return this.#gone !== undefined;
  }

  /** How many requests and reads under way need the elements. */
  get pins(): number {
    return this.#pins;
  }

  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    if (--this.#pins === 0 && this.#gone) this.#free();
  }

  /** Ends the storage for the program; `how` is "disposed" or "donated". The memory goes when no request needs it. */
  end(how: string, line?: string): void {
    this.#gone ??= { how, line };
    if (this.#pins === 0) this.#free();
  }

  /** @throws {DisposedError} naming the op that wanted the elements and the op that made them. */
  assertLive(op: string, line?: string): void {
    if (this.#failure) throw this.#failure;
    if (!this.#gone) return;
    const made = `${describe(this)} made by ${this.owner.op}${at(this.owner.line)}`;
    throw new DisposedError(
      `${op}${at(line)}: needs ${made}, which was ${this.#gone.how}${at(this.#gone.line)}; realize or read what needs it first`,
    );
  }

  #free(): void {
    finalizers.unregister(this.#cell);
    this.host = undefined;
    giveBack(this.#cell);
  }
}

const at = (line: string | undefined): string => (line === undefined ? "" : ` at ${line}`);
