import { FormatError } from "@switchyard/tensor";
import type { Rule } from "@switchyard/tensor/graph";
import * as files from "#files";

/** A `config.json` of Hugging Face's transformers: what it holds depends on `model_type`. */
export interface HfConfig {
  readonly model_type: string;
  readonly [name: string]: unknown;
}

/** The config of a directory. @throws {FormatError} if it is none of a model. */
export async function readConfig(dir: string): Promise<{ config: HfConfig; path: string }> {
  const path = files.joinPath(dir, "config.json");
  const text = new TextDecoder().decode(await files.readBytes(path));
  try {
    const config = JSON.parse(text) as HfConfig | null;
    if (typeof config?.model_type === "string") return { config, path };
  } catch {
    // No JSON: as little a config as JSON of another kind.
  }
  throw new FormatError(`${path} is no config.json of a model: it has no model_type`);
}

/** Fields that transformers takes as floats alone: it refuses the `0` that JavaScript makes of its own `0.0`. */
const floats = /("(?:\w+_(?:eps|epsilon|noise|coef|dropout|rate|range|factor|theta|clip|scale))": -?\d+)(?=,?$)/gm;

/** A config as the text of its file. */
export const configText = (config: HfConfig): string =>
  `${JSON.stringify(config, null, 2).replaceAll(floats, "$1.0")}\n`;

/** Reads numbers and flags of a config, or says what is wrong with them. */
export interface ConfigReader {
  /** @throws {FormatError} unless the value keeps the rule; `otherwise` stands in for one that is absent or null. */
  readonly get: <T>(name: string, rule: Rule, otherwise?: T) => T;
  /** @throws {FormatError} unless the value is absent, null or one of these: anything else is not built here. */
  readonly mustBe: (name: string, ...values: readonly unknown[]) => void;
}

/** @param source for messages. */
export function configReader(config: HfConfig, source: string): ConfigReader {
  return {
    get<T>(name: string, { must, holds }: Rule, otherwise?: T): T {
      const value = config[name] ?? otherwise;
      if (value === undefined) throw new FormatError(`${source}: has no "${name}"`);
      if (!holds(value)) throw new FormatError(`${source}: "${name}" must be ${must}, got ${JSON.stringify(value)}`);
      return value as T;
    },
    mustBe(name, ...values) {
      const value = config[name] ?? null;
      if (value !== null && !values.includes(value))
        throw new FormatError(
          `${source}: "${name}" is ${JSON.stringify(value)}, which is not built here; only ${values.map((v) => JSON.stringify(v)).join(" or ") || "null"} is`,
        );
    },
  };
}
