import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

/** Where a process finds an adapter: the environment to start it with, and what it will find. */
export interface AdapterPlace {
  readonly env: NodeJS.ProcessEnv;
  readonly name: string;
}

const require = createRequire(import.meta.url);

/** Prints an adapter's name, in a process of its own since drivers are chosen when a process starts. */
const probe = `
const { create } = await import(${JSON.stringify(pathToWebgpu())});
globalThis.gpu = create([]);
const adapter = await globalThis.gpu.requestAdapter({ powerPreference: "high-performance" });
if (adapter) console.log([adapter.info.vendor, adapter.info.architecture, adapter.info.device, adapter.info.description].filter(Boolean).join(" "));
`;

function pathToWebgpu(): string {
  return import.meta.resolve("webgpu");
}

function adapterName(env: NodeJS.ProcessEnv): string {
  try {
    const options = {
      env,
      timeout: 30_000,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"] as ("ignore" | "pipe")[],
    } as const;
    return execFileSync(process.execPath, ["--input-type=module", "-e", probe], options).trim();
  } catch {
    return "";
  }
}

/** An adapter of this machine's own if it has one, else the software one that comes with a package. @returns why not, if neither. */
export function findAdapter(): AdapterPlace | string {
  const own = adapterName(process.env);
  if (own) return { env: process.env, name: own };
  const folder = unpackSoftwareAdapter();
  if (!folder)
    return "no adapter, and the package @sparticuz/chromium, which brings a software adapter, is not installed";
  const env = {
    ...process.env,
    VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json"),
    LD_LIBRARY_PATH: [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(":"),
  };
  const name = adapterName(env);
  return name ? { env, name } : `no adapter, and the software adapter in ${folder} does not start here`;
}

/** Unpacks SwiftShader, a Vulkan driver on the CPU, with its loader. @returns the folder. */
function unpackSoftwareAdapter(): string | undefined {
  let archive: string;
  try {
    archive = join(dirname(require.resolve("@sparticuz/chromium/package.json")), "bin", "swiftshader.tar.br");
  } catch {
    archive = join(
      dirname(fileURLToPath(import.meta.resolve("@sparticuz/chromium"))),
      "..",
      "..",
      "bin",
      "swiftshader.tar.br",
    );
  }
  if (!existsSync(archive)) return undefined;
  const folder = join(tmpdir(), "switchyard-swiftshader-147");
  if (existsSync(folder)) return folder;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  const tar = join(fresh, "all.tar");
  writeFileSync(tar, brotliDecompressSync(readFileSync(archive)));
  execFileSync("tar", ["xf", tar, "-C", fresh]);
  rmSync(tar);
  try {
    renameSync(fresh, folder);
  } catch {
    // Another process was faster.
    rmSync(fresh, { recursive: true, force: true });
  }
  return folder;
}

export interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

/** Runs Node on a script where an adapter is, and kills it after `seconds`: a driver may hang, and no test may wait for ever. */
export function runWithAdapter(
  place: AdapterPlace,
  args: readonly string[],
  { seconds }: { seconds: number },
): Promise<Outcome> {
  const child = start(place, args, "pipe");
  const watchdog = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
  let output = "";
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(watchdog);
      resolve({ code, output });
    });
  });
}

const start = (place: AdapterPlace, args: readonly string[], stdio: "pipe" | "inherit") =>
  spawn(process.execPath, ["--conditions=source", ...args], { env: place.env, stdio });

// As a program: runs another where an adapter is, which has this one's input and output and ends with it.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const place = findAdapter();
  if (typeof place === "string") {
    console.error(place);
    process.exitCode = 1;
  } else {
    console.error(`adapter: ${place.name}`);
    const child = start(place, process.argv.slice(2), "inherit");
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
    const watchdog = setTimeout(() => child.kill("SIGKILL"), 3_600_000);
    child.on("close", (code) => {
      clearTimeout(watchdog);
      process.exitCode = code ?? 1;
    });
  }
}
