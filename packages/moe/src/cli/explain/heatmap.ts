import type { RouterExplanation } from "../../diagnostics/explainRouter.ts";
import { markup, type Html } from "../../report/markup.ts";
import { largestOf, proportion } from "./proportion.ts";
import { number, percent } from "./words.ts";

/** Pixels of one token in one row. */
const cell = 8.5;

/**
 * Strips of tokens, one for each sequence, a row for each expert: red where the logit is pushed down by the gradient's step, blue where up.
 * Buttons choose what moves it; a strip of characters stands above.
 */
export function heatmap({ logits, experts }: RouterExplanation, text: readonly string[]): Html {
  const movers = logits.filter(({ norm }) => norm !== 0);
  const total = new Float64Array(logits[0]?.gradient.length ?? 0);
  for (const { gradient } of logits) for (let i = 0; i < total.length; i++) total[i] += gradient[i];
  const layers = [
    { name: "all together", share: 1, data: total as ArrayLike<number> },
    ...movers.map(({ term, path, share, gradient }) => ({ name: `${term} by ${path}`, share, data: gradient })),
  ];
  const buttons = layers.map(
    ({ name, share }, i) =>
      markup`<button type="button" data-layer="${i}" aria-pressed="${String(i === 0)}">${name} <small>${percent(share)}</small></button>`,
  );
  const drawn = layers.map(
    ({ data }, i) => markup`<div class="layer" ${i === 0 ? "" : "hidden"}>${strips(data, experts, text)}</div>`,
  );
  return markup`<p class="buttons">${buttons}</p><div class="heatmap">${drawn}</div>
  <p class="note">Each column is a character, each row an expert. <b class="up">Blue</b>: a step of descent raises the logit; <b class="down">red</b>: it lowers it. Each view has its own scale.</p>`;
}

function strips(data: ArrayLike<number>, experts: number, text: readonly string[]): Html[] {
  const largest = largestOf(Array.from(data, Math.abs));
  let first = 0;
  return text.map((sequence) => {
    const characters = Array.from(sequence);
    const strip = stripSvg(characters, data, first, experts, largest);
    first += characters.length;
    return strip;
  });
}

function stripSvg(
  characters: readonly string[],
  data: ArrayLike<number>,
  first: number,
  experts: number,
  largest: number,
): Html {
  const [left, top] = [14, 14];
  const letters = characters.map(
    (c, t) => markup`<text x="${left + (t + 0.5) * cell}" y="${top - 4}">${c.trim() === "" ? "·" : c}</text>`,
  );
  const rows = Array.from({ length: experts }, (_, e) => {
    const squares = characters.map((_c, t) => {
      const gradient = data[(first + t) * experts + e];
      const strength = Math.sqrt(proportion(Math.abs(gradient), largest));
      if (strength < 0.02) return "";
      const side = gradient < 0 ? "up" : gradient > 0 ? "down" : "nan";
      return markup`<rect x="${left + t * cell}" y="${top + e * cell}" class="${side}" opacity="${strength.toFixed(2)}"><title>expert ${e}: ${number(gradient)}</title></rect>`;
    });
    return markup`<text x="${left - 8}" y="${top + (e + 0.8) * cell}">${e}</text>${squares}`;
  });
  const [width, height] = [left + characters.length * cell + 2, top + experts * cell + 4];
  return markup`<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><rect class="ground" x="${left}" y="${top}" style="width:${characters.length * cell}px;height:${experts * cell}px"/>${letters}${rows}</svg>`;
}
