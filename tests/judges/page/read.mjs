// Chromium as a reader of compressed answers, for tests/judges/gzip_judge.py.
//
//     node tests/judges/page/read.mjs FOLDER URL…
//
// What a page of the same origin fetches from the first address is written to FOLDER/0, and so on; what did not come as gzip, or
// was refused, is not.

import { writeFileSync } from "node:fs";
import path from "node:path";

import { HANG_LIMIT, launch } from "./browser.mjs";

const [folder, ...urls] = process.argv.slice(2);
const browser = await launch();
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(HANG_LIMIT);
  for (const [number, url] of urls.entries()) {
    await page.goto(new URL("/-/healthy", url).href);
    const read = async (url) => {
      const answer = await fetch(url);
      return { coding: answer.headers.get("Content-Encoding"), text: await answer.text() };
    };
    const { coding, text } = await page.evaluate(read, url).catch(() => ({}));
    if (coding === "gzip") writeFileSync(path.join(folder, String(number)), text);
  }
} finally {
  await browser.close();
}
