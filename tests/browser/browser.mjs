// One browser for all tests, and pages that write down whatever should not happen.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const URL_FULL = process.env.CONSOLE_URL;
export const URL_EMPTY = process.env.EMPTY_URL;
export const TOKEN = process.env.CONSOLE_TOKEN;

let browser = null;

export async function start() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
}

export async function stop() {
  await browser?.close();
}

/** A page of its own; `done` closes it and fails on errors, dialogs, and requests to anybody else. */
export async function open({ width = 1280, height = 900, scheme = "light", timezoneId = "Europe/Berlin" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, timezoneId, reducedMotion: "reduce" });
  const page = await context.newPage();
  const wrong = [];
  const hosts = [URL_FULL, URL_EMPTY].map((url) => new URL(url).host);
  // The way in is a 401, and the browser writes that down as an error.
  page.on("console", (message) => { if (message.type() === "error" && !message.text().includes("401")) wrong.push(message.text()); });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => { wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && !hosts.includes(url.host)) wrong.push(`asked ${url.host}`);
  });
  const done = async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  };
  return { page, done, wrong };
}

export async function signIn(page, path = "/") {
  await page.goto(URL_FULL + path);
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => url.pathname === "/");
  if (path !== "/") await page.goto(URL_FULL + path);
}

/** The board, once it shows what was asked for. */
export async function settled(page) {
  await page.waitForSelector("main[aria-busy=false]");
  await page.waitForFunction(() => !document.querySelector("#board.stale"));
}
