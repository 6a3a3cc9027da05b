import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build, createServer, preview, type InlineConfig, type Plugin, type Rolldown } from "vite";

const root = join(import.meta.dirname, "..");
const site = join(import.meta.dirname, "site");
const installed = join(site, "node_modules/@switchyard");
const packages = ["tensor", "autograd", "moe"] as const;

const pages = ["index.html", "conformance.html", "example/livePage.html"];

/** Puts what the site is made of into it: the packages as they would be published, and the example of a page. */
export function fillSite(): void {
  const example = join(site, "example");
  mkdirSync(example, { recursive: true });
  for (const file of ["livePage.html", "livePage.ts", "lstmMoe.ts"])
    copyFileSync(join(root, "examples", file), join(example, file));
  execFileSync("npm", ["run", "build", "--silent"], { cwd: root });
  rmSync(installed, { recursive: true, force: true });
  for (const name of packages) {
    const to = join(installed, name);
    mkdirSync(to, { recursive: true });
    const packed = execFileSync(
      "npm",
      ["pack", "--silent", "--workspace", `packages/${name}`, "--pack-destination", to],
      { cwd: root },
    );
    execFileSync("tar", ["xzf", join(to, String(packed).trim()), "--strip-components=1", "-C", to], { cwd: root });
  }
}

/** The conformance cases import sources of `tensor`; in a page they test what is published. */
const published: Plugin = {
  name: "published",
  enforce: "pre",
  resolveId(id, importer) {
    if (!id.startsWith(".") || !importer) return null;
    const source = /packages\/tensor\/src\/(.*)\.ts$/.exec(join(importer, "..", id))?.[1];
    return source === undefined ? null : join(installed, "tensor/dist", `${source}.js`);
  },
};

const config: InlineConfig = {
  root: site,
  configFile: false,
  logLevel: "error",
  plugins: [published],
  server: { fs: { allow: [root] } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2024",
    rolldownOptions: { input: pages.map((page) => join(site, page)) },
  },
};

/** Builds the site. @returns the modules in it that are Node's own: there must be none. */
export async function buildSite(): Promise<string[]> {
  const { output } = (await build(config)) as Rolldown.RolldownOutput;
  const modules = output.flatMap((part) => (part.type === "chunk" ? [...part.moduleIds, ...part.imports] : []));
  return modules.filter((id) => /^node:|vite-browser-external/.test(id));
}

/** How pages are served. */
export interface Serving {
  /** Vite's dev server, or its build. */
  readonly from: "dev" | "build";
  readonly headers?: Readonly<Record<string, string>>;
}

/** What makes a page cross-origin isolated, and so lets it share memory among threads. */
export const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** All that a page must be allowed, beside its own scripts: to compile WebAssembly, and to start workers from blobs. */
export const leastPolicy = {
  "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:",
};

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

export async function serve({ from, headers = {} }: Serving): Promise<Served> {
  if (from === "build") {
    const server = await preview({ ...config, preview: { port: 0, headers } });
    return { url: server.resolvedUrls!.local[0], close: () => server.close() };
  }
  const server = await createServer({ ...config, server: { ...config.server, port: 0, headers } });
  await server.listen();
  return { url: server.resolvedUrls!.local[0], close: () => server.close() };
}
