// The main paths through the dashboard and the page of dead letters.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { TOKEN, URL_EMPTY, URL_FULL, open, settled, signIn, start, stop } from "./browser.mjs";

before(start);
after(stop);

const text = (page, selector) => page.locator(selector).innerText();

test("a wrong token is refused, the right one opens the dashboard, and signing out closes it", async () => {
  const { page, done } = await open();
  await page.goto(URL_FULL);
  await page.getByLabel("Token").fill("not it");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
  assert.equal(await text(page, "[role=alert]"), "That is not the token.");
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await settled(page);
  assert.equal(await text(page, "h1#heading"), "Ada Example");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
  await done();
});

test("the first paint is light, and everything comes from one host", async () => {
  const { page, done } = await open();
  await signIn(page);
  await settled(page);
  const bytes = await page.evaluate(() => performance.getEntries()
    .filter((entry) => entry.entryType === "navigation" || (entry.entryType === "resource" && entry.name.includes("/assets/")))
    .reduce((sum, entry) => sum + entry.encodedBodySize, 0));
  assert.ok(bytes > 10000 && bytes < 100 * 1024, `${bytes} bytes`);
  await done();
});

test("a period is chosen, stands in the address, and Back leads back", async () => {
  const { page, done } = await open();
  await signIn(page);
  await settled(page);
  const month = await text(page, "#cards");
  await page.getByRole("link", { name: "Last 7 days" }).click();
  await page.waitForURL(/period=last_7_days/);
  await settled(page);
  await page.waitForFunction((before) => document.querySelector("#cards").innerText !== before, month);
  assert.equal(await page.getByRole("link", { name: "Last 7 days" }).getAttribute("aria-current"), "true");
  await page.getByText("Show as a table").click();
  assert.equal(await page.locator("#twin tbody tr").count(), 7);
  await page.goBack();
  await settled(page);
  await page.waitForFunction((before) => document.querySelector("#cards").innerText === before, month);
  await page.getByText("Custom").click();
  await page.locator("#range").getByLabel("From").fill("2026-01-01");
  await page.locator("#range").getByLabel("To").fill("2026-01-03");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.waitForURL(/from=2026-01-01&to=2026-01-03/);
  await settled(page);
  await page.waitForFunction(() => document.querySelector("#span").innerText.startsWith("Thu, Jan 1, 2026"));
  await done();
});

test("a time zone cuts the days, and one that cannot says so", async () => {
  const { page, done, wrong } = await open();
  await signIn(page);
  await settled(page);
  await page.getByLabel("Time zone").selectOption("Europe/Berlin");
  await page.waitForURL(/tz=Europe/);
  await page.waitForFunction(() => document.querySelector("#span").innerText.includes("Europe/Berlin"));
  assert.ok(await page.locator("#days-note").isVisible(), "what is kept by UTC day says so");
  await page.goto(`${URL_FULL}/?tz=Asia/Kathmandu`);
  await page.waitForFunction(() => document.querySelector("#notice").innerText.includes("UTC hour"));
  assert.ok(wrong.every((line) => line.includes("400")), String(wrong));
  wrong.length = 0;
  await done();
});

test("a click on a row shows that row alone, with mouse and with keyboard", async () => {
  const { page, done } = await open();
  await signIn(page);
  await settled(page);
  await page.locator("#countries").getByRole("button", { name: "Germany" }).click();
  await page.waitForURL(/country=DE/);
  await settled(page);
  await page.locator("#filter").waitFor();
  assert.equal(await text(page, "#filter-name"), "country: Germany");
  assert.match(await text(page, "#cards"), /Share of all clicks/);
  assert.equal(await page.locator("#countries [aria-pressed=true]").count(), 1);
  await page.getByRole("button", { name: "Show everything" }).click();
  await page.waitForFunction(() => document.querySelector("#filter").hidden);
  const shop = page.locator("#links").getByRole("button", { name: "My shop" });
  await shop.focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/link=/);
  await page.waitForFunction(() => document.querySelector("#filter-name").innerText.includes("My shop"));
  assert.match(await text(page, "#history"), /No change|My shop/);
  await done();
});

test("the last half hour is shown, and the history leads back", async () => {
  const { page, done } = await open();
  await signIn(page);
  await settled(page);
  await page.waitForFunction(() => /^\d/.test(document.querySelector("#live-views").innerText));
  assert.match(await text(page, "#live"), /Last 30 minutes/);
  const rows = page.locator("#history li");
  assert.equal(await rows.count(), 10);
  await page.getByRole("button", { name: "Show earlier changes" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#history li").length === 30);
  await done();
});

test("what strangers wrote stays text", async () => {
  const { page, done, wrong } = await open();
  await signIn(page);
  await settled(page);
  assert.match(await text(page, "#links"), /<img src=x onerror=alert\(1\)>/);
  for (const path of ["/", "/dead-letters"]) {
    await page.goto(URL_FULL + path);
    await page.waitForSelector("main[aria-busy=false]");
    const found = await page.evaluate(() => ({
      pictures: [...document.images].filter((image) => !image.src.endsWith("/assets/icon.svg")).length,
      scripts: [...document.scripts].filter((script) => !script.src).length,
      links: [...document.links].filter((link) => !/^https?:$/.test(link.protocol)).length,
    }));
    assert.deepEqual(found, { pictures: 0, scripts: 0, links: 0 }, path);
  }
  assert.match(await text(page, "#rows"), /<script>alert\(1\)<\/script>/);
  const policy = (await page.request.get(URL_FULL)).headers()["content-security-policy"];
  assert.match(policy, /script-src 'self';/);
  // Even what gets into the page as markup does not run. The browser complains, as it should.
  const complaint = page.waitForEvent("console", (message) => /404/.test(message.text()));
  const ran = await page.evaluate(async () => {
    document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 1'>");
    const script = document.createElement("script");
    script.textContent = "window.ran = 1";
    document.body.append(script);
    return window.ran ?? 0;
  });
  assert.equal(ran, 0);
  await complaint;
  assert.ok(wrong.every((line) => /Content Security Policy|404/.test(line)), String(wrong));
  wrong.length = 0;
  await done();
});

test("dead letters are narrowed, shown, redriven and discarded, after a question", async () => {
  const { page, done } = await open();
  await signIn(page, "/dead-letters");
  await page.waitForSelector("main[aria-busy=false]");
  assert.equal(await page.locator("#rows li").count(), 50);
  await page.getByRole("button", { name: "Show more" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#rows li").length === 100);
  await page.getByLabel("Reason").fill("future_timestamp");
  await page.getByRole("button", { name: "Narrow" }).click();
  await page.waitForURL(/reason=future_timestamp/);
  await page.waitForFunction(() => document.querySelectorAll("#rows li").length === 20);
  await page.getByLabel("Profile").fill("nobody");
  await page.getByRole("button", { name: "Narrow" }).click();
  await page.getByText("None fits what the list is narrowed to.").waitFor();
  await page.goBack();
  await page.waitForFunction(() => document.querySelectorAll("#rows li").length === 20);
  const first = page.locator("#rows li").first();
  await first.getByText("Event", { exact: true }).click();
  await page.waitForFunction(() => document.querySelector("#rows pre").innerText.includes("specversion"));

  await first.getByRole("checkbox").check();
  await page.getByRole("button", { name: "Redrive" }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.locator("#rows li").count(), 20);
  await page.getByRole("button", { name: "Redrive" }).click();
  await page.locator("dialog").getByRole("button", { name: "Redrive" }).click();
  await page.getByText("Redriven: 1.").waitFor();
  assert.equal(await page.locator("#rows li").count(), 19);

  await page.locator("#rows li").first().getByRole("checkbox").check();
  await page.getByRole("button", { name: "Discard" }).click();
  await page.getByRole("button", { name: "Discard for good" }).click();
  await page.getByText("Discarded: 1.").waitFor();
  assert.equal(await page.locator("#rows li").count(), 18);

  await page.getByLabel("All shown").check();
  await page.getByRole("button", { name: "Redrive" }).click();
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("dialog").isHidden());
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#rows li").length === 18);
  await done();
});

test("another site cannot redrive with the visitor's cookie", async () => {
  const { page, done } = await open();
  await signIn(page);
  const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
  for (const headers of [{ origin: "http://evil.example" }, { "sec-fetch-site": "cross-site" }, {}]) {
    const answer = await fetch(`${URL_FULL}/api/v1/dead-letters/${"0".repeat(32)}`, { method: "DELETE", headers: { cookie, ...headers } });
    assert.equal(answer.status, 403, JSON.stringify(headers));
  }
  await done();
});

test("without events the page says what to do, and without a server it keeps what it has", async () => {
  const empty = await open();
  await empty.page.goto(URL_EMPTY);
  await empty.page.getByText("No events yet").waitFor();
  await empty.page.goto(`${URL_EMPTY}/dead-letters`);
  await empty.page.getByText("Everything that was accepted could be counted.").waitFor();
  await empty.done();

  const { page, done, wrong } = await open();
  await signIn(page);
  await settled(page);
  await page.route("**/api/**", (route) => route.abort());
  await page.getByRole("link", { name: "Last 7 days" }).click();
  await page.getByText("Could not refresh: the server cannot be reached.").waitFor();
  assert.ok(await page.locator("#board").isVisible());
  assert.ok(wrong.every((line) => line.includes("ERR_FAILED")), String(wrong));
  wrong.length = 0;
  await done();
});

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    test(`nothing serious for axe, and nothing wider than the window: ${scheme}, ${width} px`, async () => {
      const { page, done } = await open({ width, scheme });
      const check = async (where) => {
        const { violations } = await new AxeBuilder({ page }).analyze();
        const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
        assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(" | ")}`), [], where);
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `${where} scrolls sideways`);
      };
      await page.goto(URL_FULL);
      await check("sign-in");
      await signIn(page);
      await settled(page);
      await page.getByText("Show as a table").click();
      await check("dashboard");
      await page.goto(`${URL_FULL}/?country=DE&period=last_7_days`);
      await page.locator("#filter").waitFor();
      await settled(page);
      await check("one row");
      await page.goto(`${URL_FULL}/dead-letters`);
      await page.waitForSelector("main[aria-busy=false]");
      await page.locator("#rows li").first().getByText("Event", { exact: true }).click();
      await page.waitForFunction(() => document.querySelector("#rows pre").innerText.includes("specversion"));
      await page.locator("#rows li").first().getByRole("checkbox").check();
      await check("dead letters");
      await page.getByRole("button", { name: "Redrive" }).click();
      await check("question");
      await page.goto(URL_EMPTY);
      await page.getByText("No events yet").waitFor();
      await check("empty");
      await done();
    });
  }
}
