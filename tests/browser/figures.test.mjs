// Every figure that the dashboard shows is the one that the API answers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { URL_FULL, open, settled, signIn, start, stop } from "./browser.mjs";

before(start);
after(stop);

/** Rows of a list that the page shows. */
const ROWS = 10;
const whole = (text) => Number(text.replace(/[^\d]/g, ""));
/** A rate as it is written, in per cent; none for a dash. */
const rate = (text) => (text.includes("–") ? null : Number(text.replace(/[^\d.]/g, "")));

/** To the one digit that is shown. */
function assertRate(shown, answered, what) {
  if (answered === null) assert.equal(shown, null, what);
  else assert.ok(Math.abs(shown - answered) <= 0.05 + 1e-9, `${what}: ${shown} % is shown, ${answered} % answered`);
}

/** What the API answers to the page's own visitor. */
function asked(page, path, query) {
  return page.evaluate(async ([path, query]) => (await fetch(`api/v1/${path}?${new URLSearchParams(query)}`)).json(), [path, query]);
}

/** The texts of a list's rows, cell by cell; what is there for screen readers alone is left out. */
function rows(page, list) {
  return page.locator(`${list} li:not(.row-head)`).evaluateAll((items) => items.map((item) => {
    const copy = item.cloneNode(true);
    copy.querySelectorAll(".unseen, .about").forEach((unseen) => unseen.remove());
    const text = (selector) => [...copy.querySelectorAll(selector)].map((it) => it.textContent);
    return { slice: copy.querySelector("[data-value]")?.dataset.value, title: text(".title")[0], counts: text(".counts > *"), time: copy.querySelector("time")?.dateTime };
  }));
}

async function cards(page) {
  const found = await page.locator("#cards .card").evaluateAll((items) => items.map((item) => {
    item = item.cloneNode(true);
    item.querySelectorAll(".unseen, .about").forEach((unseen) => unseen.remove());
    return [item.querySelector(".name").textContent, { value: item.querySelector(".value").textContent, change: item.querySelector(".change")?.textContent ?? "" }];
  }));
  return Object.fromEntries(found);
}

/** A card's figure, and the one of the period before that stands beside it. */
function assertCard(card, value, before, read, same) {
  same(read(card.value), value, "now");
  if (value === null || before === null) assert.equal(card.change, "nothing to compare with");
  else if (value === before) assert.equal(card.change, "as before");
  else same(read(card.change.split(" from ")[1]), before, "before");
}

const equal = (shown, answered, what) => assert.equal(shown, answered, what);
const times100 = (value) => (value === null ? null : value * 100);

async function twin(page) {
  return page.locator("#twin tbody tr").evaluateAll((items) => items.map((row) => [...row.cells].slice(1).map((cell) => cell.textContent)));
}

async function assertBoard(page, report) {
  const shown = await cards(page);
  const { previous } = report;
  for (const [name, field] of [["Unique visitors", "unique_visitors"], ["Views", "views"], ["Clicks", "clicks"]]) {
    assertCard(shown[name], report[field], previous[field], whole, equal);
  }
  assertCard(shown["Click rate"], times100(report.ctr), times100(previous.ctr), rate, assertRate);

  const points = (await twin(page)).map((cells) => cells.map(whole));
  assert.deepEqual(points, report.series.map(({ views, clicks }) => [views, clicks]));
  assert.equal(points.reduce((sum, [views]) => sum + views, 0), report.views);
  assert.equal(points.reduce((sum, [, clicks]) => sum + clicks, 0), report.clicks);

  const links = await rows(page, "#links");
  assert.equal(links.length, Math.min(ROWS, report.links.length));
  links.forEach((link, n) => {
    const answered = report.links[n];
    assert.equal(link.slice, answered.link_id);
    assert.equal(link.title, answered.title);
    assert.equal(whole(link.counts[0]), answered.unique_visitors, answered.link_id);
    assertRate(rate(link.counts[1]), times100(answered.ctr), answered.link_id);
    assert.equal(whole(link.counts[2]), answered.clicks, answered.link_id);
  });

  for (const [list, answered, value, count] of [["#referrers", report.referrers, "source", "visits"], ["#countries", report.locations, "country", "clicks"]]) {
    const shown = await rows(page, list);
    assert.equal(shown.length, Math.min(ROWS, answered.length), list);
    shown.forEach((row, n) => {
      assert.equal(row.slice, answered[n][value]);
      assertRate(rate(row.counts[0]), answered[n].pct, row.slice);
      assert.equal(whole(row.counts[1]), answered[n][count], row.slice);
    });
  }
  const devices = await rows(page, "#devices");
  assert.equal(devices.length, Object.values(report.devices).filter((share) => share > 0).length);
  for (const row of devices) assertRate(rate(row.counts[0]), report.devices[row.slice], row.slice);

  const milestones = await rows(page, "#milestones");
  assert.equal(milestones.length, Math.min(ROWS, report.milestones.length));
  milestones.forEach((row, n) => {
    const answered = report.milestones[n];
    assert.equal(whole(row.title), answered.threshold ?? answered.value);
    assert.ok(row.title.endsWith(answered.metric ?? "reached"), row.title);
    assert.equal(row.time, answered.at);
  });
}

test("cards, curve, lists and milestones show what the API answers, for every period and zone", async () => {
  const { page, done } = await open();
  await signIn(page);
  await settled(page);
  const [{ profile_id: id }] = (await asked(page, "profiles", {})).profiles;
  for (const when of [{ period: "last_30_days" }, { period: "last_7_days", tz: "Europe/Berlin" }, { period: "last_24_hours" }, { period: "last_90_days", tz: "Asia/Tokyo" }]) {
    await page.goto(`${URL_FULL}/?${new URLSearchParams(when)}`);
    await settled(page);
    const report = await asked(page, `profiles/${id}/report`, { ...when, compare: "previous", limit: 100 });
    await page.getByText("Show as a table").click();
    await assertBoard(page, report);
  }
  await done();
});

test("a chosen row shows its own trend, and the pipeline its state", async () => {
  const { page, done } = await open();
  await signIn(page);
  await settled(page);
  const [{ profile_id: id }] = (await asked(page, "profiles", {})).profiles;
  const report = await asked(page, `profiles/${id}/report`, { period: "last_30_days" });
  for (const [slice, value] of [["link", report.links[0].link_id], ["country", report.locations[0].country], ["device", "mobile"]]) {
    await page.goto(`${URL_FULL}/?${new URLSearchParams({ [slice]: value })}`);
    await settled(page);
    await page.locator("#filter").waitFor();
    const trend = await asked(page, `profiles/${id}/trend`, { period: "last_30_days", compare: "previous", [slice]: value });
    const shown = await cards(page);
    assertCard(shown.Clicks, trend.clicks, trend.previous_clicks, whole, equal);
    assertRate(rate(shown["Share of all clicks"].value), Math.min(100, (trend.clicks / report.clicks) * 100), slice);
    await page.getByText("Show as a table").click();
    assert.deepEqual((await twin(page)).map(([clicks]) => whole(clicks)), trend.series.map(({ clicks }) => clicks));
  }
  // The page asks every ten seconds, and a minute may end in between.
  await page.waitForFunction(async (id) => {
    const live = await (await fetch(`api/v1/profiles/${id}/live`)).json();
    const shown = (name) => Number(document.querySelector(`#live-${name}`).innerText.replace(/[^\d]/g, ""));
    return shown("views") === live.views && shown("clicks") === live.clicks && live.series.reduce((sum, { views }) => sum + views, 0) === live.views;
  }, id, { polling: 500 });
  const status = await asked(page, "status", {});
  const facts = await page.locator("#pipeline > div").evaluateAll((items) => items.map((item) => [item.querySelector("dt").textContent, item.querySelector("dd").textContent]));
  const fact = Object.fromEntries(facts);
  for (const [name, field] of [["Accepted", "accepted"], ["Applied", "applied"], ["Duplicates", "duplicates"], ["Dead letters", "dead"]]) {
    assert.equal(whole(fact[name]), status[field], name);
  }
  assert.equal(fact.Database, status.database);
  await done();
});
