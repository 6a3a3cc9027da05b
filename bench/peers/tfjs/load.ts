import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type * as tfjs from "@tensorflow/tfjs-core";
import { buildSync } from "esbuild";
// The types of the methods that operations also are.
import type {} from "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";

const require = createRequire(import.meta.url);

export type TensorFlow = typeof tfjs;
export type TensorFlowBackend = "wasm" | "cpu" | "webgpu";

/**
 * TensorFlow.js core with its gradients and one backend. What npm resolves in Node has no gradients registered, and its modules import
 * each other without file endings, which Node refuses: so we bundle them as a page would.
 */
export async function loadTensorFlow(backend: TensorFlowBackend): Promise<TensorFlow> {
  const outfile = fileURLToPath(new URL(`../../dist/tfjs-${backend}.cjs`, import.meta.url));
  const contents = [
    `export * from "@tensorflow/tfjs-core";`,
    `import "@tensorflow/tfjs-core/dist/register_all_gradients";`,
    `import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops";`,
    backend === "wasm"
      ? `export { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";`
      : `import "@tensorflow/tfjs-backend-${backend}";`,
  ].join("\n");
  buildSync({
    stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
    bundle: true,
    format: "cjs",
    platform: "node",
    mainFields: ["module", "main"],
    logLevel: "silent",
    outfile,
  });
  const tf = require(outfile) as TensorFlow & { setWasmPaths?: (directory: string) => void };
  tf.setWasmPaths?.(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json"))}/dist/`);
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs: the ${backend} backend did not start`);
  return tf;
}
