import chromium from "@sparticuz/chromium";
import { chromium as driver, type Browser } from "playwright-core";

/** A browser without a window, of the package that brings one. */
export async function startBrowser(): Promise<Browser> {
  return driver.launch({
    executablePath: await chromium.executablePath(),
    args: [
      "--no-sandbox",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
    headless: true,
  });
}
