import { ConfigError } from "./errors.ts";

/** What a value must be, and whether it is. */
export interface Rule {
  readonly must: string;
  readonly holds: (value: unknown) => boolean;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

export const positiveInteger: Rule = {
  must: "a positive integer",
  holds: (value) => Number.isInteger(value) && (value as number) > 0,
};
export const wholeNumber: Rule = {
  must: "an integer of at least 0",
  holds: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};
export const nonNegative: Rule = {
  must: "a number of at least 0",
  holds: (value) => isNumber(value) && value >= 0,
};
export const positiveNumber: Rule = { must: "a number above 0", holds: (value) => isNumber(value) && value > 0 };
/** A relative amount: 0 is none and 1 would be everything. */
export const fraction: Rule = {
  must: "a number of at least 0 and below 1",
  holds: (value) => isNumber(value) && value >= 0 && value < 1,
};
export const finiteNumber: Rule = { must: "a finite number", holds: isNumber };
export const flag: Rule = { must: "true or false", holds: (value) => typeof value === "boolean" };
export const aFunction: Rule = { must: "a function", holds: (value) => typeof value === "function" };
export const oneOf = (...names: readonly string[]): Rule => ({
  must: `one of ${names.map((name) => `"${name}"`).join(", ")}`,
  holds: (value) => names.includes(value as string),
});
/** A value that the compiler describes better than a rule could: a router, a table of losses. */
export const anObject: Rule = {
  must: "an object",
  holds: (value) => typeof value === "object" && value !== null,
};

/** A value for a message, on one line: of a plain object its keys, and of a function not its source. */
export function inWords(value: unknown): string {
  if (typeof value === "function") return "a function";
  const isPlain =
    typeof value === "object" &&
    value !== null &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value) as null);
  return isPlain ? `{ ${Object.keys(value).join(", ")} }` : String(value);
}

/** One rule for each option; an option without a rule does not compile. */
export type Rules<T extends object> = { readonly [N in keyof T]-?: Rule };

/**
 * Checks options given by someone whom the compiler did not check. An option left out, or `undefined`, is not checked here.
 *
 * @throws {ConfigError} if they are none, or naming the option that is unknown or breaks its rule.
 */
export function checkOptions<T extends object>(op: string, options: T, rules: Rules<T>): void {
  if (!anObject.holds(options)) throw new ConfigError(`${op}: takes an object of options, got ${inWords(options)}`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name))
      throw new ConfigError(`${op}: unknown option "${name}"; options are ${Object.keys(rules).join(", ")}`);
    const { must, holds } = rules[name as keyof T];
    if (value !== undefined && !holds(value))
      throw new ConfigError(`${op}: ${name} must be ${must}, got ${inWords(value)}`);
  }
}

/** @throws {ConfigError} naming the options that were left out. */
export function requireOptions<T extends object>(
  op: string,
  options: T,
  ...names: readonly (keyof T & string)[]
): void {
  const missing = names.filter((name) => options[name] === undefined);
  if (missing.length > 0) throw new ConfigError(`${op}: needs the option ${missing.map((n) => `"${n}"`).join(", ")}`);
}
