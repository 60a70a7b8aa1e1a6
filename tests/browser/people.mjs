// People who use the console: each in a browser of their own, who notice every error and every violation of the pages'
// policy; and programs that use the API beside them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const from = createRequire(path.join(process.env.DRIVER, "x"));
const { chromium } = from("playwright-core");
const axe = readFileSync(from.resolve("axe-core/axe.min.js"), "utf8");

export const ready = JSON.parse(process.env.READY);
export const desk = { width: 1360, height: 850 };
export const phone = { width: 390, height: 844 };

// Chromium does not start its sandbox for root.
const options = process.getuid() === 0 ? ["--no-sandbox"] : [];
export const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: options });

/** Somebody in front of a browser, signed in unless they have no role. */
export async function person(role, { merchant, viewport = desk, locale = "en-US", colorScheme = "light" } = {}) {
  const context = await browser.newContext({ baseURL: ready.api, viewport, locale, colorScheme, reducedMotion: "reduce" });
  const troubles = [];
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (violation) => {
      console.error(`policy: ${violation.violatedDirective} ${violation.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    // That a form was refused is shown on the page; the browser tells it here as well.
    const refused = /status of (401|402|403|404|409|422)/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !refused) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(error.message));
  if (role) {
    await page.goto("/sign-in");
    const form = page.locator(`form:has(input[name="role"][value="${role}"])`);
    if (merchant) await form.locator("select").selectOption(merchant);
    await form.locator("button").click();
    await page.waitForURL("**/");
  }
  return { context, page, troubles, leave: () => leave(context, troubles) };
}

async function leave(context, troubles) {
  await context.close();
  assert.deepEqual(troubles, [], "no error in the console");
}

/** Nothing serious is in the way of anybody on this page. */
export async function isAccessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const told = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
  assert.deepEqual(told, [], `axe on ${what}`);
}

export function token(role, subject, merchant) {
  const of = merchant ? ["--merchant", merchant] : [];
  const said = ["token", "--role", role, "--subject", subject, "--data-dir", ready.data_dir, ...of];
  return execFileSync(process.env.JUMUN_PROGRAM, said).toString().trim();
}

/** A program that asks the API as somebody. */
export function program(role, subject, merchant) {
  const bearer = token(role, subject, merchant);
  return async (method, path, body) => {
    const headers = { authorization: `Bearer ${bearer}`, "content-type": "application/json" };
    const answer = await fetch(ready.api + path, { method, headers, body: body && JSON.stringify(body) });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  };
}

const sold = { "sauce-shop": "doenjang", "shopping-mall": "mug", "food-delivery": "bibimbap", street12: "cap", pizza: "potato" };

export function order(merchant, name = "Kim Minji") {
  const deposit = merchant === "shopping-mall";
  return {
    merchant_id: merchant,
    customer: { name, phone: "+82 10 1234 5678", address: "12 Sejong-daero, Seoul" },
    lines: [{ sku: sold[merchant], quantity: 1 }],
    payment: deposit ? { method: "deposit" } : { method: "card", card_token: "tok_ok" },
  };
}

/** Asks until it is so. */
export async function until(what, ask, within = 20_000) {
  const end = Date.now() + within;
  for (;;) {
    if (await ask()) return;
    assert.ok(Date.now() < end, `in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
