/** Where a column of generated code comes from. */
type Segment = readonly [generatedColumn: number, source: number, line: number, column: number];

interface SourceMap {
  readonly sources: readonly string[];
  /** By generated line. */
  readonly lines: readonly (readonly Segment[])[];
}

/** The part of Node that is needed to read a file at once. Elsewhere there is none, and lines stay as they are. */
interface Files {
  readFileSync(path: string, encoding: "utf8"): string;
}

const maps = new Map<string, SourceMap | undefined>();

/**
 * The place in the source that a place in generated code was made from.
 *
 * @param location `path:line:column`, as a stack has it.
 * @returns the same form; what came in, where the file has no source map that can be read.
 */
export function originalLocation(location: string): string {
  const [, path, line, column] = /^(.*):(\d+):(\d+)$/.exec(location) ?? [];
  if (path === undefined) return location;
  if (!maps.has(path)) maps.set(path, sourceMapOf(path));
  const segments = maps.get(path)?.lines[Number(line) - 1];
  const found = segments?.findLast(([generated]) => generated < Number(column));
  if (!found) return location;
  const [, source, originalLine, originalColumn] = found;
  return `${beside(path, maps.get(path)!.sources[source])}:${originalLine + 1}:${originalColumn + 1}`;
}

/** The source map that a file names in its last line, in it or beside it. */
function sourceMapOf(path: string): SourceMap | undefined {
  try {
    const { process } = globalThis as { process?: { getBuiltinModule?(name: string): unknown } };
    const files = process?.getBuiltinModule?.("node:fs") as Files | undefined;
    const [, url] = /\/\/[#@] sourceMappingURL=(\S+)\s*$/.exec(files?.readFileSync(path, "utf8") ?? "") ?? [];
    if (files === undefined || url === undefined) return undefined;
    const inline = /^data:application\/json[^,]*;base64,(.*)$/.exec(url)?.[1];
    const json = inline === undefined ? files.readFileSync(beside(path, url), "utf8") : textOfBase64(inline);
    const {
      sources,
      sourceRoot = "",
      mappings,
    } = JSON.parse(json) as { [name: string]: string } & { sources: string[] };
    return { sources: sources.map((source) => sourceRoot + source), lines: decodeMappings(mappings) };
  } catch {
    // A map that cannot be read is as good as none: the generated line still tells something.
    return undefined;
  }
}

const textOfBase64 = (base64: string): string =>
  new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));

/** A relative path as seen from a file. */
function beside(file: string, path: string): string {
  if (/^([a-z]+:\/\/|\/|[A-Z]:[\\/])/.test(path)) return path.replace(/^file:\/\//, "");
  const parts = file.split(/[\\/]/).slice(0, -1);
  for (const part of path.split("/"))
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  return parts.join("/");
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The numbers of a segment: base-64 digits of five bits, the least first, with a bit that says whether more follow; then a sign. */
function decodeVlq(text: string): number[] {
  const numbers: number[] = [];
  let [value, shift] = [0, 0];
  for (const character of text) {
    const digit = digits.indexOf(character);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

/** Source Map Revision 3: all fields but the first go on from line to line, as differences. */
function decodeMappings(mappings: string): Segment[][] {
  let [source, line, column] = [0, 0, 0];
  return mappings.split(";").map((text) => {
    let generated = 0;
    return text.split(",").flatMap((segment): Segment[] => {
      const [byGenerated = 0, bySource, byLine = 0, byColumn = 0] = decodeVlq(segment);
      generated += byGenerated;
      if (bySource === undefined) return [];
      source += bySource;
      line += byLine;
      column += byColumn;
      return [[generated, source, line, column]];
    });
  });
}
