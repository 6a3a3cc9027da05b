export { openChromium as startBrowser } from "../../../../browser/chromium.ts";
