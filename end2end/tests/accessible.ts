// Accessibility checks with axe.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { type Page, expect } from "@playwright/test";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Fails on serious and critical violations. */
export async function expectAccessible(page: Page) {
  // Evaluated, because the page's content security policy blocks an added script.
  await page.evaluate(axe);
  const serious = await page.evaluate(async () => {
    const { violations } = await (window as any).axe.run();
    return violations
      .filter((violation: any) => ["serious", "critical"].includes(violation.impact))
      .map((violation: any) => `${violation.id}: ${violation.nodes.map((node: any) => node.html).join(" | ")}`);
  });
  expect(serious).toEqual([]);
}
