/** What the page does: light the paths of a parameter, and change what the heatmap shows. */
export const script = `
const { edges, parameters } = JSON.parse(document.getElementById("graph").textContent);
const svg = document.querySelector(".graph svg");
let shown;
function light(id) {
  const lit = new Set([id]);
  for (let size = 0; size !== lit.size; ) {
    size = lit.size;
    for (const [from, to] of edges) if (lit.has(to)) lit.add(from);
  }
  svg.querySelectorAll(".lit").forEach((g) => g.classList.remove("lit"));
  svg.classList.toggle("lighting", id !== shown);
  shown = id === shown ? undefined : id;
  if (shown === undefined) return;
  for (const node of lit) document.getElementById(node)?.classList.add("lit");
  edges.forEach(([from, to], i) => lit.has(from) && lit.has(to) && document.getElementById("e" + i)?.classList.add("lit"));
}
for (const id of parameters) {
  const node = document.getElementById(id);
  node.tabIndex = 0;
  node.setAttribute("role", "button");
  node.addEventListener("click", () => light(id));
  node.addEventListener("keydown", (event) => event.key === "Enter" && light(id));
}
const buttons = document.querySelectorAll("[data-layer]");
const layers = document.querySelectorAll(".heatmap .layer");
buttons.forEach((button, chosen) => button.addEventListener("click", () => {
  buttons.forEach((other, i) => other.setAttribute("aria-pressed", String(i === chosen)));
  layers.forEach((layer, i) => (layer.hidden = i !== chosen));
}));
`;
