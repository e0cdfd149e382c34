// Writes the figures that the tests stored in a folder into TRUST.md.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";

const [folder] = process.argv.slice(2);
const number = (value) => (typeof value === "number" ? value.toLocaleString("en-US") : String(value));
const units = { ms: "ms", us: "µs" };
const kinds = { max: ", longest", median: ", median" };
const words = (key) =>
  key
    .replaceAll("_", " ")
    .replace(/ (ms|us)(?: (max|median))?$/, (_, unit, kind) => `${kinds[kind] ?? ""}, ${units[unit]}`);

const tables = readdirSync(folder)
  .sort()
  .map((file) => {
    const figures = JSON.parse(readFileSync(join(folder, file), "utf8"));
    const rows = Object.entries(figures).map(([key, value]) => `| ${words(key)} | ${number(value)} |`);
    return `**${words(basename(file, ".json"))}**\n\n| | |\n|---|---:|\n${rows.join("\n")}\n`;
  });
const build = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
const head = `\`make trust\` on ${new Date().toISOString().slice(0, 10)}, at ${build}, on ${cpus().length} cores:\n`;

const [before, rest] = readFileSync("TRUST.md", "utf8").split(/(?<=<!-- figures[^\n]*-->\n)/);
const after = rest.slice(rest.indexOf("<!-- /figures -->"));
writeFileSync("TRUST.md", `${before}\n${head}\n${tables.join("\n")}\n${after}`);
