import chromium from "@sparticuz/chromium";
import { chromium as driver, type Browser } from "playwright-core";

/**
 * WebGPU on the software adapter that comes with the browser, on which compiling is fifty times slower if workgroup memory is to be
 * cleared; and no talk with the outside.
 */
const flags = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--enable-dawn-features=disable_workgroup_init",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** A headless Chromium from a package: nothing is downloaded, nothing installed. */
export const openChromium = async (): Promise<Browser> =>
  driver.launch({ executablePath: await chromium.executablePath(), args: flags });
