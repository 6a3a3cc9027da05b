import type { Command } from "commander";
import { devices, init } from "@switchyard/tensor";
import { fold } from "./fold.ts";
import { command, type CommonOptions } from "./usage.ts";

export const devicesCommand = (): Command =>
  command("devices", "list the devices, with what they offer or why they are unusable").action(listDevices);

async function listDevices({ json, device }: CommonOptions): Promise<void> {
  await init(device);
  for (const info of await devices()) {
    if (json) console.log(JSON.stringify(info));
    else {
      const details = Object.entries(info.details).map(([name, value]) => `${name}: ${String(value)}`);
      const what = info.reason?.replace(`${info.name}: `, "") ?? [info.dtypes.join(" "), ...details].join(", ");
      console.log(fold(`${info.isDefault ? "*" : " "} ${info.name.padEnd(7)}  ${what}`, process.stdout.columns));
    }
  }
}
