import { findingsOf } from "./findings.ts";
import { markup, raw, type Html } from "./markup.ts";
import type { RunData } from "./runData.ts";
import { expertHue } from "./style.ts";
import { summaryOf } from "./summary.ts";

/** The summary of one run. */
export const tiles = (run: RunData): Html =>
  markup`<div class="tiles">
    ${summaryOf(run).map(([name, value]) => markup`<div class="tile"><b>${value}</b><span>${name}</span></div>`)}
  </div>`;

/** The summaries of several, a column each. */
export function comparison(runs: readonly RunData[]): Html {
  const summaries = runs.map((run) => new Map(summaryOf(run)));
  const names = [...new Set(summaries.flatMap((summary) => [...summary.keys()]))];
  return markup`<section>
    <h2>Side by side</h2>
    <div class="scroll">
      <table>
        <tr>
          <th></th>
          ${runs.map(({ name }) => markup`<th class="number">${name}</th>`)}
        </tr>
        ${names.map(
          (name) =>
            markup`<tr>
              <th>${name}</th>
              ${summaries.map((summary) => markup`<td class="number">${summary.get(name) ?? "–"}</td>`)}
            </tr>`,
        )}
      </table>
    </div>
  </section>`;
}

/** A passage in the colours of the experts, a layer at a time. */
export function passage({ look, name }: RunData, isAlone: boolean): Html | undefined {
  if (!look) return undefined;
  const { tokens, layers } = look.passage;
  const group = `layer-${name}`;
  return markup`<section>
    <h2>Which expert reads what${!isAlone && `: ${name}`}</h2>
    <div class="controls">
      ${layers.map((_, i) => markup`<label><input type="radio" name="${group}" value="${i}" ${i === 0 && raw("checked")} />layer ${i}</label>`)}
    </div>
    ${layers.map(
      (experts, i) =>
        // No blanks between: they would be shown.
        markup`<div class="passage" data-layer="${i}" ${i === 0 && raw('style="display:block"')}>${tokens.map(
          (token, t) =>
            markup`<span style="--h:${expertHue(experts[t])}" title="expert ${experts[t]}">${token === "\n" ? "↵" : token}</span>`,
        )}</div>`,
    )}
    <div class="legend" style="margin:10px 0 0">
      ${Array.from({ length: look.experts }, (_, e) => markup`<span><i class="swatch" style="--h:${expertHue(e)}"></i>expert ${e}</span>`)}
    </div>
    <p class="sub">Held-out text, each token in the colour of the expert that the router likes best for it.</p>
  </section>`;
}

/** What stands out, what is wrong first. */
export function findings(runs: readonly RunData[]): Html | undefined {
  const found = runs.flatMap((run) =>
    findingsOf(run).map(({ text, warns }) => ({
      warns,
      text: runs.length === 1 ? text : `${run.name}: ${text}`,
    })),
  );
  if (found.length === 0) return undefined;
  const sorted = found.toSorted((a, b) => Number(b.warns) - Number(a.warns));
  return markup`<section>
    <h2>Findings</h2>
    <ul class="findings">
      ${sorted.map(({ text, warns }) => markup`<li class="${warns ? "warns" : "notes"}">${text}</li>`)}
    </ul>
  </section>`;
}

/** What a model wrote, from its first words to its last. */
export function samples({ samples: all, name }: RunData, isAlone: boolean): Html | undefined {
  if (all.length === 0) return undefined;
  const shown = [0, 1 / 3, 2 / 3, 1].map((share) => all[Math.round(share * (all.length - 1))]);
  return markup`<section>
    <h2>What it writes${!isAlone && `: ${name}`}</h2>
    <table>
      <tr>
        <th class="number">step</th>
        <th>the prompt, and how the model goes on</th>
      </tr>
      ${[...new Set(shown)].map(
        ({ step, prompt, text }) =>
          markup`<tr>
            <td class="number">${step}</td>
            <td class="text"><em>${prompt}</em>${text}</td>
          </tr>`,
      )}
    </table>
  </section>`;
}

/** Every number that a config decides, those that differ marked. */
export function configs(runs: readonly RunData[]): Html | undefined {
  const flat = runs.flatMap(({ config, name }) => {
    if (!config) return [];
    const { vocabulary, model, data, versions, format: _format, version: _version, ...rest } = config;
    const text = data.file === null ? "Moby-Dick" : data.file.replace(/^.*[/\\]/, "");
    return [{ name, values: { ...model, ...rest, text, vocabulary: Array.from(vocabulary).length, ...versions } }];
  });
  if (flat.length === 0) return undefined;
  const fields = Object.keys(flat[0].values) as (keyof (typeof flat)[number]["values"])[];
  const rows = fields.map((field) => {
    const values = flat.map((run) => String(run.values[field] ?? "none"));
    const differs = new Set(values).size > 1;
    return markup`<tr>
      <th>${field}</th>
      ${values.map((value) => markup`<td class="${differs ? "number differs" : "number"}">${value}</td>`)}
    </tr>`;
  });
  const head =
    flat.length > 1 &&
    markup`<tr>
      <th></th>
      ${flat.map(({ name }) => markup`<th class="number">${name}</th>`)}
    </tr>`;
  const half = Math.ceil(rows.length / 2);
  const columns = flat.length > 1 ? [rows] : [rows.slice(0, half), rows.slice(half)];
  return markup`<section>
    <h2>Configuration</h2>
    <div class="figures">
      ${columns.map(
        (part) =>
          markup`<div class="${flat.length > 1 ? "wide scroll" : "half"}">
            <table>
              ${head}${part}
            </table>
          </div>`,
      )}
    </div>
  </section>`;
}
