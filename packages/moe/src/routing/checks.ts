import { ConfigError } from "@switchyard/tensor";

/** @throws {ConfigError} if a token is to choose more experts than there are. */
export function checkChoices(op: string, k: number, experts: number): void {
  if (k > experts)
    throw new ConfigError(`${op}: k = ${k} but there are ${experts} experts; choose k from 1 to ${experts}`);
}
