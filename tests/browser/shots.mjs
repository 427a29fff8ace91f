// Takes the pictures of the documentation: `node shots.mjs FOLDER`.

import { URL_EMPTY, URL_FULL, open, settled, signIn, start, stop } from "./browser.mjs";

const folder = process.argv[2];
await start();
for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    const { page, done } = await open({ width, scheme, height: width === 360 ? 740 : 900 });
    const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${scheme}-${width}.png`, fullPage: true });
    await signIn(page);
    await settled(page);
    await page.waitForFunction(() => /^\d/.test(document.querySelector("#live-views").innerText));
    await shoot("dashboard");
    await page.goto(`${URL_FULL}/dead-letters?reason=future_timestamp`);
    await page.waitForSelector("main[aria-busy=false]");
    await page.locator("#rows li").first().getByText("Event", { exact: true }).click();
    await page.waitForFunction(() => document.querySelector("#rows pre").innerText.includes("specversion"));
    await page.setViewportSize({ width, height: 900 });
    await page.screenshot({ path: `${folder}/dead-letters-${scheme}-${width}.png` });
    await page.goto(URL_EMPTY);
    await page.getByText("No events yet").waitFor();
    await shoot("empty");
    await done();
  }
}
await stop();
