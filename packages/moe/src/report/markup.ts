/** HTML that needs no more escaping. */
export interface Html {
  readonly html: string;
}

const entities: { readonly [character: string]: string } = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => entities[character]);

export const raw = (html: string): Html => ({ html });

type Part = Html | string | number | undefined | false | readonly Part[];

const render = (part: Part): string => {
  if (part === undefined || part === false) return "";
  if (typeof part === "string" || typeof part === "number") return escape(`${part}`);
  return "html" in part ? part.html : part.map(render).join("");
};

/** A template whose values are escaped, unless they are HTML already. */
export const markup = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html =>
  raw(strings.map((text, i) => (i === 0 ? text : render(parts[i - 1]) + text)).join(""));
