// What axe finds on a page.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { type Page, expect } from "@playwright/test";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Nothing serious stands between the page and anybody. */
export async function expectAccessible(page: Page) {
  // Evaluated rather than added as a script, which the page's policy would rightly refuse.
  await page.evaluate(axe);
  const serious = await page.evaluate(async () => {
    const { violations } = await (window as any).axe.run();
    return violations
      .filter((violation: any) => ["serious", "critical"].includes(violation.impact))
      .map((violation: any) => `${violation.id}: ${violation.nodes.map((node: any) => node.html).join(" | ")}`);
  });
  expect(serious).toEqual([]);
}
