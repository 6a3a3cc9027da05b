import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";

/** What the numbers were measured on, and how busy it was. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly flags: readonly string[];
  /** Over the last minute, before the suite began: above 0.5 something else was running, and times mean little. */
  readonly load: number;
}

export const describeMachine = (): Machine => ({
  processor: cpus()[0]?.model.trim() ?? process.arch,
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release()}`,
  node: process.version,
  flags: process.execArgv,
  load: Math.round(loadavg()[0] * 100) / 100,
});

export const machineLine = ({ processor, cores, memoryGiB, node, load }: Machine): string =>
  `${processor}, ${cores} cores, ${memoryGiB} GiB, Node ${node}, load ${load}`;
