// A page that trains, on WebGPU if there is one, and draws how many tokens each expert gets: `npm run build && npx vite examples`, then
// open /livePage.html.
import { init } from "@switchyard/tensor";
import { adam } from "@switchyard/autograd";
import { loadMetrics, train } from "@switchyard/moe";
import { model } from "./lstmMoe.ts";

type Text = Parameters<
  typeof train<ReturnType<typeof model.init>, Parameters<typeof model.loss>[1], ReturnType<typeof model.loss>, unknown>
>[0]["data"];

export async function livePage(text: Text): Promise<void> {
  const device = await init(["webgpu", "wasm"]); // explicit order, never silent
  document.querySelector("#device")!.textContent = device;
  const stop = new AbortController();
  document.querySelector("#stop")!.addEventListener("click", () => stop.abort());
  const g = document.querySelector("canvas")!.getContext("2d")!;
  const optimizer = adam({ learningRate: 2e-3 });
  for await (const { step, loss, aux } of train({ model, data: text, optimizer, steps: 5000, signal: stop.signal })) {
    if (step % 10) continue;
    const [counts, cv] = await Promise.all([aux.routing.counts.data(), loadMetrics(aux.routing.counts).cv.item()]); // one submission
    const top = Math.max(...counts);
    g.clearRect(0, 0, 320, 100);
    counts.forEach((c, e) => g.fillRect(e * 10, 100 - (100 * c) / top, 8, (100 * c) / top));
    document.title = `${step}: ${loss.toFixed(3)}, cv ${cv.toFixed(2)}`;
  }
}
