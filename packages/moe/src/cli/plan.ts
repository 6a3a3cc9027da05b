import type { Command } from "commander";
import { ConfigError } from "@switchyard/tensor";
import type { PlanConfig } from "../diagnostics/plan/config.ts";
import type { ExpertParallel, RecordedChoices } from "../diagnostics/plan/expertParallel.ts";
import { plan, type Plan } from "../diagnostics/plan/plan.ts";
import { presets } from "../diagnostics/plan/presets.ts";
import { exists, readBytes } from "../interop/files.node.ts";
import { fold } from "./fold.ts";
import { command, integer, type CommonOptions } from "./usage.ts";

interface PlanCommandOptions extends CommonOptions {
  readonly devices?: number;
  readonly tokens?: number;
  readonly routing?: string;
}

export const planCommand = (): Command =>
  command("plan", "tell what a model needs: parameters, bytes, operations, and traffic between devices")
    .argument("<model>", `one of ${Object.keys(presets).join(", ")}, or a JSON file with the sizes of one`)
    .option("--devices <n>", "spread the experts of a layer over so many devices", integer(1))
    .option("--tokens <n>", "tokens in a batch that is played on them", integer(1))
    .option("--routing <file>", "play this recorded routing, JSON, instead of an even draw")
    .action(planModel);

async function planModel(model: string, { json, devices, tokens, routing }: PlanCommandOptions): Promise<void> {
  const config: PlanConfig = Object.hasOwn(presets, model)
    ? presets[model as keyof typeof presets]
    : await ownConfig(model);
  const recorded = routing === undefined ? undefined : await readJson<RecordedChoices>(routing);
  const made = plan(config, { devices, tokens, routing: recorded });
  console.log(json ? JSON.stringify(made) : fold(describePlan(model, made), process.stdout.columns));
}

async function ownConfig(path: string): Promise<PlanConfig> {
  if (await exists(path)) return readJson<PlanConfig>(path);
  const known = Object.keys(presets).join(", ");
  throw new ConfigError(`plan: cannot read ${path}: no preset and no file; presets are ${known}`);
}

async function readJson<T>(path: string): Promise<T> {
  const text = new TextDecoder().decode(await readBytes(path));
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new ConfigError(`plan: ${path} is not JSON: ${(error as Error).message}`);
  }
}

/** `46.7 B`: three digits and a power of a thousand. */
function short(n: number, unit = ""): string {
  const steps = ["", "k", "M", "B", "T", "P"];
  const names = unit === "" ? steps : steps.map((step) => step.replace("B", "G"));
  const at = n < 1000 ? 0 : Math.min(steps.length - 1, Math.floor(Math.log10(n) / 3));
  const scaled = n / 1000 ** at;
  const digits = scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(at === 0 ? 0 : digits)} ${names[at]}${unit}`.trim();
}

function describePlan(name: string, { parameters, bytes, flops, memory, expertParallel, sparseLayers }: Plan): string {
  const { total, active, multiplied: _, ...parts } = parameters;
  const listed = Object.entries(parts).filter(([, count]) => count > 0);
  const gigabytes = (n: number): string => short(n, "B");
  const rows: [string, string][] = [
    ["parameters", `${short(total)} held, ${short(active)} active for a token`],
    ["of which", listed.map(([part, count]) => `${part} ${short(count)}`).join(", ")],
    [
      "bytes",
      Object.entries(bytes)
        .map(([dtype, count]) => `${dtype} ${gigabytes(count)}`)
        .join(", "),
    ],
    ["operations", `${short(flops.forward, "FLOP")} a token, ${short(flops.training, "FLOP")} to train on one`],
    [
      "optimizer",
      Object.entries(memory.optimizer)
        .map(([which, count]) => `${which} ${gigabytes(count)}`)
        .join(", "),
    ],
    ["training", `${gigabytes(memory.training)} of parameters, gradients and Adam in f32, and activations`],
    ["cache", `${gigabytes(memory.cachePerToken)} a token, bf16`],
  ];
  const lines = rows.map(([what, says]) => `  ${what.padEnd(11)} ${says}`);
  return [name, ...lines, ...(expertParallel ? describeParallel(expertParallel, sparseLayers) : [])].join("\n");
}

function describeParallel(parallel: ExpertParallel, layers: number): string[] {
  const { devices, tokens, allToAllBytes, busiestDeviceBytes, slowdown, capacity } = parallel;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  return [
    `  ${tokens} tokens over ${devices} devices, each of ${layers} layers`,
    `    moves ${short(allToAllBytes, "B")} to the experts and as much back; the busiest device ${short(busiestDeviceBytes, "B")}`,
    `    waits for the slowest device, which has ${slowdown.toFixed(2)} times the mean`,
    ...capacity.map(
      ({ factor, places, dropped, slowdown: limited, padding }) =>
        `    capacity ${factor.toFixed(2)}: ${places} places an expert, ${percent(dropped)} dropped, slowest ${limited.toFixed(2)}, ${percent(padding)} of places empty`,
    ),
  ];
}
