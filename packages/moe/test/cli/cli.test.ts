import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "@switchyard/moe/node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

const bin = fileURLToPath(new URL("../../bin/switchyard.js", import.meta.url));
let dir: string;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line as a shell would, in the test's own directory. */
const switchyard = (...args: string[]): Promise<Outcome> =>
  new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { cwd: dir }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });

/** The same without a process, which is most of the time a bad option takes. */
async function inThisProcess(args: string[]): Promise<Outcome> {
  let [out, err] = ["", ""];
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation((chunk) => ((out += String(chunk)), true)),
    vi.spyOn(process.stderr, "write").mockImplementation((chunk) => ((err += String(chunk)), true)),
  ];
  const code = await run(args);
  for (const spy of spies) spy.mockRestore();
  return { code, out, err };
}

const text = "It was the best of times, it was the worst of times. ".repeat(12);
const tiny = ["--device", "cpu", "--data", "text.txt", "--dim", "8", "--heads", "2", "--layers", "2", "--hidden", "8"];
const small = [...tiny, "--context", "8", "--batch", "2", "--experts", "3", "--k", "2"];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  await writeFile(join(dir, "text.txt"), text);
});
afterAll(() => rm(dir, { recursive: true }));

describe("switchyard train", () => {
  test("trains, tells how it goes, and leaves a run that sample and eval can use", async () => {
    const { code, out, err } = await switchyard("train", ...small, "--steps", "3");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^training runs\/1 on cpu: .* parameters, of which a token meets /);
    expect(out).toMatch(/before training: ".*" goes on/);
    expect(out).toMatch(/step 3\/3 {2}loss \d\.\d{3} {2}held-out \d\.\d{3} {2}\S+ tokens\/s {2}0s left/);
    expect(out).toMatch(/layer 1 {2}% of tokens by expert( +\d+){3} {2}CV² \d\.\d{3}/);
    expect(out).toMatch(
      /held-out loss \d\.\d{3} nats per character: .*\nperplexity \d+\.\d\d, \d\.\d{3} bits per byte, \S+ % of characters foretold\n\(unigram \d\.\d{3}, bigram \d\.\d{3}; judged by/,
    );
    expect(await readdir(join(dir, "runs", "1"))).toEqual(
      expect.arrayContaining(["metrics.jsonl", "run.json", "samples.jsonl", "step-2", "step-3"]),
    );
    expect(await readFile(join(dir, "runs", "1", "samples.jsonl"), "utf8")).toMatch(
      /^\{"step":0,.*\n(.*\n){2}\{"step":3,.*\n$/,
    );

    const sampled = await switchyard("sample", "--device", "cpu", "--prompt", "It was", "--tokens", "12");
    expect(sampled.code).toBe(0);
    expect(sampled.out).toMatch(/^It was/);
    expect(sampled.out.length).toBe("It was".length + 12 + 1);

    const json = await switchyard(
      "sample",
      "--device",
      "cpu",
      "--run",
      "runs/1",
      "--prompt",
      "It was",
      "--tokens",
      "12",
      "--json",
    );
    const { prompt, text: continued } = JSON.parse(json.out) as { prompt: string; text: string };
    expect(`${prompt}${continued}\n`).toBe(sampled.out);

    const judged = await switchyard("eval", "--device", "cpu", "--json");
    const { heldOut, unigram, bigram } = JSON.parse(judged.out) as { [name: string]: number };
    expect(heldOut).toBeGreaterThan(0);
    expect(unigram).toBeGreaterThan(bigram);
    const lines = out.split("\n");
    expect(lines.find((line) => line.startsWith("held-out loss"))).toContain(`held-out loss ${heldOut.toFixed(3)} `);

    const examined = await switchyard("doctor", "--device", "cpu");
    expect(examined.out).toMatch(/^(nothing wrong with the routing of|error:|warning:|note:)/);
    expect(examined.out).toMatch(/\nlayer 1: what each expert takes more of than its share\n {2}expert 0 {2}\S/);
    expect(examined.out).not.toMatch(/ $/m);
    expect(examined.out).toContain(" ␣"); // a space, among the characters that some expert takes
    expect(examined.out).toMatch(/ {2}most often together: experts \d and \d, \d+ tokens\n$/);

    await switchyard("doctor", "--device", "cpu", "--record", "routing.json", "--layer", "1");
    const sizes = { vocab: 20, dim: 8, layers: 2, heads: 2, hidden: 8, context: 8, moe: { experts: 3, k: 2 } };
    await writeFile(join(dir, "sizes.json"), JSON.stringify(sizes));
    const planned = await switchyard("plan", "sizes.json", "--routing", "routing.json", "--devices", "3");
    expect([planned.code, planned.err]).toEqual([0, ""]);
    expect(planned.out).toContain("tokens over 3 devices, each of 2 layers");
  });

  test("with --profile, tells first where the time of a step goes, and trains as it would without", async () => {
    const options = ["train", ...small, "--steps", "1", "--json"];
    const [plain, profiled] = await Promise.all([switchyard(...options), switchyard(...options, "--profile")]);
    const events = profiled.out.trim().split("\n");
    const { event, kernels } = JSON.parse(events[1]) as { event: string; kernels: { name: string; ms: number }[] };
    expect(event).toBe("profile");
    expect(kernels.find(({ name }) => name === "groupedMatmul")!.ms).toBeGreaterThan(0);
    const progress = (line: string): unknown => ({
      ...(JSON.parse(line) as object),
      tokensPerSecond: 0,
      secondsLeft: 0,
    });
    const steps = (out: string): unknown[] =>
      out
        .trim()
        .split("\n")
        .filter((line) => line.includes("progress"))
        .map(progress);
    expect(steps(profiled.out)).toEqual(steps(plain.out));
  });

  test("with --json, every line is an object, and a seed decides the numbers", async () => {
    const read = async (seed: string) => {
      const { out } = await switchyard("train", ...small, "--steps", "2", "--seed", seed, "--json");
      return out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { event: string; loss?: number; shares?: number[][] });
    };
    const [first, again, other] = await Promise.all(["5", "5", "6"].map(read));
    expect(first.map((e) => e.event)).toEqual(["begin", "sample", "progress", "progress", "sample", "end"]);
    expect(first[2].shares!.map((layer) => layer.reduce((a, b) => a + b))).toEqual([
      expect.closeTo(1),
      expect.closeTo(1),
    ]);
    const losses = (events: typeof first) => events.flatMap((e) => e.loss ?? []);
    expect(losses(again)).toEqual(losses(first));
    expect(losses(other)).not.toEqual(losses(first));
  });

  test("--revectorize says whether this engine has it, and changes no number", async () => {
    const read = async (...options: string[]) => {
      const { out } = await switchyard("train", ...small, "--device", "wasm", "--steps", "2", "--json", ...options);
      const [begin, ...rest] = out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { revectorized?: boolean; loss?: number });
      return { revectorized: begin.revectorized, losses: rest.flatMap((e) => e.loss ?? []) };
    };
    const [plain, wide] = await Promise.all([read(), read("--revectorize")]);
    const built: Readonly<Record<string, unknown>> = process.config.variables;
    expect(wide.revectorized).toBe(Boolean(built.v8_enable_wasm_simd256_revec));
    expect(plain.revectorized).toBe(false);
    expect(wide.losses).toEqual(plain.losses);
  });

  test("Ctrl-C finishes the step, writes the checkpoint and says how to go on, which then happens", async () => {
    const child = spawn(process.execPath, [bin, "train", ...small, "--steps", "100000", "--json"], { cwd: dir });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      out += chunk;
      if (chunk.includes('"progress"')) child.kill("SIGINT");
    });
    expect(await new Promise((resolve) => child.on("exit", resolve))).toBe(0);
    const last = JSON.parse(out.trim().split("\n").at(-1)!) as { event: string; run: string; step: number };
    expect(last.event).toBe("stopped");
    expect(await readdir(join(dir, last.run))).toContain(`step-${last.step}`);

    // The rest would take an hour: cut the run short where it notes its length.
    const config = join(dir, last.run, "run.json");
    const noted = JSON.parse(await readFile(config, "utf8")) as object;
    await writeFile(config, JSON.stringify({ ...noted, steps: last.step + 2 }));
    const resumed = await switchyard("train", "--device", "cpu", "--resume", last.run, "--json");
    const events = resumed.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; step?: number });
    expect(events.flatMap((e) => (e.event === "progress" ? e.step : []))).toEqual([last.step + 1, last.step + 2]);
    expect(events.at(-1)!.event).toBe("end");

    const other = await switchyard("train", "--device", "cpu", "--resume", last.run, "--dim", "16");
    expect([other.code, other.err]).toEqual([
      2,
      expect.stringMatching(/^switchyard: --dim cannot be given with --resume/),
    ]);
  });
});

test("a run holds its directory from its first word to its last", async () => {
  const home = process.cwd();
  process.chdir(dir);
  const held: [event: string, isHeld: boolean][] = [];
  let directory = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((line) => {
    const { event, run: its = directory } = JSON.parse(String(line)) as { event: string; run?: string };
    directory = its;
    held.push([event, existsSync(join(directory, "run.lock"))]);
    return true;
  });
  try {
    expect(await run(["train", ...small, "--steps", "2", "--json"])).toBe(0);
  } finally {
    write.mockRestore();
    process.chdir(home);
  }
  expect(held.map(([event]) => event)).toEqual(["begin", "sample", "progress", "progress", "sample", "end"]);
  expect(held.every(([, isHeld]) => isHeld)).toBe(true);
  expect(existsSync(join(dir, directory, "run.lock"))).toBe(false);
});

describe("switchyard train --precision f16", () => {
  test("trains in f16, goes on so, and refuses a device without it before anything is written", async () => {
    const f16 = ["--precision", "f16", "--eval-every", "1", ...small];
    const before = await readdir(join(dir, "runs")).catch(() => []);
    const refused = await switchyard("train", ...f16, "--device", "wasm", "--steps", "2");
    expect(refused).toEqual({
      code: 1,
      out: "",
      err: expect.stringMatching(/^switchyard: .*wasm has no f16; take f32/),
    });
    expect(await readdir(join(dir, "runs")).catch(() => [])).toEqual(before);
    const { code, err, out } = await switchyard("train", ...f16, "--steps", "2", "--json");
    expect([code, err]).toEqual([0, ""]);
    const { run } = JSON.parse(out.split("\n")[0]) as { run: string };
    expect(JSON.parse(await readFile(join(dir, run, "run.json"), "utf8"))).toMatchObject({ precision: "f16" });
    const elsewhere = await switchyard("train", "--resume", run, "--device", "wasm");
    expect([elsewhere.code, elsewhere.err]).toEqual([1, expect.stringMatching(/wasm has no f16/)]);
    const again = await switchyard("train", "--resume", run, "--device", "cpu");
    expect([again.code, again.err]).toEqual([0, ""]);
    const notes = (await readFile(join(dir, run, "metrics.jsonl"), "utf8")).trim().split("\n");
    expect(notes.map((line) => typeof (JSON.parse(line) as { lossScale: unknown }).lossScale)).toEqual([
      "number",
      "number",
    ]);
  });
});

describe("switchyard train --config", () => {
  test("takes options from a file, of which those of the command line count more", async () => {
    const config = {
      dim: 8,
      heads: 2,
      layers: 1,
      hidden: 8,
      context: 8,
      batch: 2,
      experts: 3,
      k: 1,
      steps: 9,
      ema: 0.5,
    };
    await writeFile(
      join(dir, "config.json"),
      JSON.stringify({ ...config, data: "text.txt", device: "wasm", revectorize: false }),
    );
    const { code, err, out } = await switchyard("train", "--config", "config.json", "--steps", "2", "--json");
    expect([code, err]).toEqual([0, ""]);
    const { run } = JSON.parse(out.split("\n")[0]) as { run: string };
    const noted = JSON.parse(await readFile(join(dir, run, "run.json"), "utf8")) as object;
    expect(noted).toMatchObject({ steps: 2, ema: 0.5, batch: 2, model: { experts: 3, k: 1 }, schedule: "cosine" });
    const sampled = await switchyard("sample", "--device", "cpu", "--run", join(run, "step-2"), "--prompt", "It was");
    expect([sampled.code, sampled.err]).toEqual([0, ""]);
  });
});

describe("switchyard export", () => {
  test("writes a run as a Mixtral, which import reads and sample goes on with, to the same text", async () => {
    const trained = await switchyard("train", ...small, "--activation", "swiglu", "--steps", "2", "--json");
    const { run } = JSON.parse(trained.out.split("\n")[0]) as { run: string };
    expect((await switchyard("export", "hf", "--run", run)).out).toMatch(
      /^hf holds .* as MixtralForCausalLM, in F32\n$/,
    );
    const imported = await switchyard("import", "hf", "--to", "copy", "--json");
    expect(JSON.parse(imported.out)).toMatchObject({ kind: "mixtral", layers: 2, context: 8, to: "copy" });
    expect(await readdir(join(dir, "copy"))).toContain("model.safetensors");
    const sample = ["--prompt", "It was", "--tokens", "20", "--temperature", "0"];
    const [here, there] = await Promise.all([run, "hf"].map((at) => switchyard("sample", "--run", at, ...sample)));
    expect(there).toEqual(here);
  });
});

describe("bad input is one line, an exit code, and nothing written", () => {
  const home = process.cwd();
  afterAll(() => process.chdir(home));
  beforeAll(async () => {
    process.chdir(dir);
    await writeFile(join(dir, "empty.txt"), "");
    await writeFile(join(dir, "short.txt"), "too short");
    await writeFile(join(dir, "bad.json"), '{ "stepz": 3 }');
    await writeFile(join(dir, "wrong.json"), '{ "steps": "many" }');
    await writeFile(join(dir, "flag.json"), '{ "revectorize": "yes" }');
    await writeFile(join(dir, "list.json"), '{ "data": ["text.txt"] }');
    for (const run of ["early", "cut", "later"]) await mkdir(join(dir, run));
    await copyFile(join(dir, "runs", "1", "run.json"), join(dir, "early", "run.json"));
    await writeFile(join(dir, "cut", "run.json"), '{ "format": "switch');
    await writeFile(join(dir, "later", "run.json"), '{ "format": "switchyard run", "version": 2 }');
    await writeFile(join(dir, "latin1.txt"), Uint8Array.of(0x63, 0x61, 0x66, 0xe9));
  });

  test.each<[string, number, RegExp, string[]]>([
    ["a file that is missing", 1, /none\.txt: there is no such file/, ["train", ...tiny, "--data", "none.txt"]],
    ["an empty file", 1, /empty\.txt is empty/, ["train", ...tiny, "--data", "empty.txt"]],
    ["a file too short", 1, /short\.txt is too short: 9 characters/, ["train", ...tiny, "--data", "short.txt"]],
    ["a file that is not UTF-8", 1, /latin1\.txt is not UTF-8 text/, ["train", ...tiny, "--data", "latin1.txt"]],
    ["more choices than experts", 1, /3/, ["train", ...tiny, "--context", "8", "--experts", "2", "--k", "3"]],
    ["heads that do not divide", 1, /heads must divide dim/, ["train", ...tiny, "--context", "8", "--heads", "3"]],
    [
      "a run that is not there",
      1,
      /nowhere is not the directory of a run: there is no such directory/,
      ["train", "--device", "cpu", "--resume", "nowhere"],
    ],
    [
      "a prompt beyond the context",
      1,
      /the prompt has 9 tokens but the context is 8/,
      ["sample", "--device", "cpu", "--prompt", "It was it"],
    ],
    [
      "a layer that is not there",
      2,
      /--layer 2: the model has 2 layers with a mixture, counted from 0/,
      ["doctor", "--device", "cpu", "--run", "runs/1", "--layer", "2"],
    ],
    [
      "a run that was stopped before its first checkpoint",
      1,
      /early has no checkpoint yet; go on with npx switchyard train --resume early/,
      ["sample", "--device", "cpu", "--run", "early"],
    ],
    [
      "a run whose description was cut short",
      1,
      /cut\/run\.json is not JSON: /,
      ["sample", "--device", "cpu", "--run", "cut"],
    ],
    [
      "a run of another version",
      1,
      /later\/run\.json describes no run that this version can read/,
      ["sample", "--device", "cpu", "--run", "later"],
    ],
    ["a prompt of other characters", 1, /"€" is not in the vocabulary/, ["sample", "--device", "cpu", "--prompt", "€"]],
    ["a device that is not built", 1, /webgpu/, ["sample", "--device", "webgpu"]],
    ["an unknown option", 2, /unknown option '--stepz' \(Did you mean --steps\?\)/, ["train", "--stepz", "3"]],
    ["an unknown command", 2, /unknown command 'trian'/, ["trian"]],
    ["an argument too many", 2, /too many arguments/, ["train", "now"]],
    [
      "steps that are no number",
      2,
      /'many' is invalid.* It must be an integer of at least 1/,
      ["train", "--steps", "many"],
    ],
    ["no steps", 2, /It must be an integer of at least 1/, ["train", "--steps", "0"]],
    ["an unknown device", 2, /Devices are cpu, wasm, webgpu/, ["train", "--device", "gpu"]],
    ["a norm of nothing", 2, /It must be a number above 0/, ["train", "--clip", "0"]],
    ["a schedule of no name", 2, /Allowed choices are constant, linear, cosine/, ["train", "--schedule", "steep"]],
    [
      "a config that is not there",
      1,
      /cannot read none\.json: there is no such file/,
      ["train", "--config", "none.json"],
    ],
    ["a config that is not JSON", 1, /text\.txt is not JSON/, ["train", "--config", "text.txt"]],
    [
      "a config with an unknown option",
      1,
      /bad\.json: unknown option "stepz"; options are seed,/,
      ["train", "--config", "bad.json"],
    ],
    [
      "a config with a wrong value",
      1,
      /wrong\.json: steps cannot be "many": It must be an integer/,
      ["train", "--config", "wrong.json"],
    ],
    [
      "a config with a word for a flag",
      1,
      /flag\.json: revectorize cannot be "yes": It must be a boolean\./,
      ["train", "--config", "flag.json"],
    ],
    [
      "a config with a list for a file",
      1,
      /list\.json: data cannot be \["text\.txt"\]: It must be a string or a number\./,
      ["train", "--config", "list.json"],
    ],
    [
      "a run with no place in the layout",
      1,
      /has experts of relu with biases.*--activation swiglu/,
      ["export", "hf2", "--run", "runs/1"],
    ],
    ["a directory of no model", 1, /cannot read .*config\.json/, ["import", "none"]],
    ["an empty prompt", 2, /must not be empty/, ["sample", "--prompt", ""]],
  ])("%s", async (_, code, message, args) => {
    const before = await readdir(join(dir, "runs"));
    const outcome = await inThisProcess(args);
    expect(outcome.err).toMatch(/^switchyard: [^\n]+\n$/);
    expect(outcome.err).toMatch(message);
    expect([outcome.code, outcome.out]).toEqual([code, ""]);
    expect(await readdir(join(dir, "runs"))).toEqual(before);
  });
});

describe("switchyard", () => {
  test("the exit code of a failure is that of the process", async () => {
    const [bad, wrong] = await Promise.all([switchyard("sample", "--run", "none"), switchyard("sample", "--frob")]);
    expect([bad.code, wrong.code]).toEqual([1, 2]);
    expect(bad.err + wrong.err).toMatch(/^switchyard: [^\n]+\nswitchyard: [^\n]+\n$/);
  });

  test("without a command, or asked for help, lists its commands", async () => {
    const [plain, help] = await Promise.all([switchyard(), switchyard("--help")]);
    expect(help.code).toBe(0);
    for (const name of [
      "train",
      "sample",
      "eval",
      "explain",
      "report",
      "doctor",
      "plan",
      "import",
      "export",
      "devices",
    ])
      expect(help.out).toMatch(new RegExp(`^ {2}${name}\\b`, "m"));
    expect([plain.out, plain.code]).toEqual([help.out, 0]);
  });

  test.each(["train", "sample", "eval", "explain", "doctor", "plan", "devices"])(
    "%s --help shows what every command has",
    async (name) => {
      const { code, out } = await switchyard(name, "--help");
      expect(code).toBe(0);
      for (const option of ["--json", "--seed <n>", "--device <name>", "--help"]) expect(out).toContain(option);
    },
  );

  test("devices says for each what it offers or why not", async () => {
    const { out } = await switchyard("devices", "--device", "cpu", "--json");
    const list = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { name: string; isDefault: boolean; reason?: string });
    expect(list.map((d) => d.name)).toEqual(["cpu", "wasm", "webgpu"]);
    expect(list[0]).toMatchObject({ isDefault: true, dtypes: expect.arrayContaining(["f32"]) as unknown });
    const lines = await switchyard("devices", "--device", "cpu");
    expect(lines.out).toMatch(/^\* cpu {6}f16 f32 .*\n {2}wasm {5}.*\n {2}webgpu {3}(?!webgpu)/);
  });

  test("several runs are judged side by side, the best first", async () => {
    const { code, out } = await switchyard("eval", "runs/1", "runs/2", "--device", "cpu");
    expect(code).toBe(0);
    const [head, ...rows] = out.trim().split("\n");
    expect(head).toMatch(/^run +nats\/character +perplexity +bits\/byte +accuracy$/);
    const losses = rows.map((row) => Number(row.split(/ +/)[1]));
    expect(losses.length).toBe(2);
    expect(losses[0]).toBeLessThanOrEqual(losses[1]);
  });

  test("report writes a page about a run, with what its experts read", async () => {
    const { code, err, out } = await switchyard("report", "runs/1", "--device", "cpu", "--json");
    expect([code, err]).toEqual([0, ""]);
    const { out: file } = JSON.parse(out) as { out: string };
    const page = await readFile(join(dir, file), "utf8");
    for (const heading of [
      "Learning",
      "Routing",
      "Which expert reads what",
      "Speed",
      "What it writes",
      "Configuration",
    ])
      expect(page).toContain(`<h2>${heading}</h2>`);
  });

  test("a text that has changed since is no text to judge by", async () => {
    await copyFile(join(dir, "text.txt"), join(dir, "other.txt"));
    const trained = await switchyard("train", ...small, "--data", "other.txt", "--steps", "1", "--json");
    const { run } = JSON.parse(trained.out.split("\n")[0]) as { run: string };
    await writeFile(join(dir, "other.txt"), `${text}!`);
    const { code, err } = await switchyard("eval", "--device", "cpu", "--run", run);
    expect([code, err]).toEqual([1, expect.stringMatching(/other\.txt has changed since runs\/\d+ was trained on it/)]);
    expect(existsSync(join(dir, run))).toBe(true);
  });
});
