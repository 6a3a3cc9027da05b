/**
 * Takes the options off the end of arguments: a plain object with at least one of the named entries and nothing else.
 *
 * @param names what options may hold.
 */
export function splitOptions<R extends readonly unknown[], O extends object>(
  args: readonly unknown[],
  names: readonly (keyof O & string)[],
): { rest: R; options: Partial<O> } {
  const last = args.at(-1);
  const keys = last !== null && typeof last === "object" ? Object.keys(last) : [];
  const isOptions = keys.length > 0 && keys.every((key) => (names as readonly string[]).includes(key));
  return isOptions
    ? { rest: args.slice(0, -1) as readonly unknown[] as R, options: last as O }
    : { rest: args as readonly unknown[] as R, options: {} };
}
