#!/usr/bin/env node
// Committed, since npm links no `bin` that a build makes later. In a checkout it runs the sources as they are; a published
// package has no sources, and runs what was built.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const sources = at("../src/cli/main.ts");
const built = at("../dist/cli/main.js");

const [major, minor] = process.versions.node.split(".").map(Number);
const runsTypeScript = major > 22 || (major === 22 && minor >= 18);

if (existsSync(sources) && runsTypeScript) start(["--conditions=source", sources]);
else if (existsSync(built)) start([built]);
else {
  const remedy = "npm run build, or run it through npx, which finds the Node of the checkout";
  console.error(`switchyard: the sources need Node 22.18 or later (this is ${process.versions.node}): ${remedy}`);
  process.exitCode = 1;
}

/** A process of its own: the flag that selects the sources can only be given when Node starts. */
function start(args) {
  const child = spawn(process.execPath, [...args, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`switchyard: cannot start Node: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 1;
    if (signal) console.error(`switchyard: ended by ${signal}`);
  });
}
