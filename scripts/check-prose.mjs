#!/usr/bin/env node
// Checks the prose of all text files against the style page in CONTRIBUTING.md: `scripts/check-prose.mjs [path…]`.
// Prints file:line for each finding. Text between `<!-- prose: off -->` and `<!-- prose: on -->` is skipped.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

// What is forbidden, and what to write instead.
const words = [
  [/\b(whoever|whomever|whosoever)\b/i, "name the client, user, peer or caller"],
  [/\b(somebody|oneself)\b/i, "name the client, user, peer or caller"],
  [/\bone's\b/i, "name the owner: the user's, the client's, its"],
  [/\banew\b/i, '"again"'],
  [/\bfor ever\b/i, '"forever", or the duration'],
  [/\bby itself\b/i, '"automatically"'],
  [/\bpass(es|ed)? over\b/i, '"skips"'],
  [/\baffairs?\b/i, "name the thing"],
  [/\bstands?\b(?! for\b)/i, '"is", "is documented", "is written"'],
  [/(?<!\bthere )\b(is|are) no (?!longer|more|less|reason|need)[a-z]+/i, '"is not a …"'],
  [/\bno longer ago\b/i, '"within the last …"'],
  [/\p{L} …/u, 'an ellipsis without a space: "Loading…"'],
];
const opening = /^(what|who|whom|whose|how|whether|which|why|when|where|that|so many|so much|one's)\b/i;

const skipped =
  /(^|\/)(Cargo\.lock|package-lock\.json|check-prose\.mjs|[^/]+\.(png|svg|ico|woff2))$|^benches\/results\/|^fuzz\/corpus\//;
const docComment = /^\s*\/\/[/!](?!\/)\s?(.*)$/;

let findings = 0;
function report(file, line, text, advice) {
  findings += 1;
  console.log(`${file}:${line}: ${text}: ${advice}`);
}

function check(file) {
  let [isOff, wasDocComment] = [false, false];
  for (const [index, line] of readFileSync(file, "utf8").split("\n").entries()) {
    if (line.includes("<!-- prose: off -->")) isOff = true;
    if (line.includes("<!-- prose: on -->")) isOff = false;
    if (isOff) continue;
    for (const [word, advice] of words) {
      const found = line.match(word);
      if (found) report(file, index + 1, `"${found[0]}"`, `write ${advice}`);
    }
    const comment = file.endsWith(".rs") ? line.match(docComment) : null;
    if (comment && !wasDocComment) {
      const first = comment[1].match(opening);
      if (first)
        report(
          file,
          index + 1,
          `a doc comment begins with "${first[0]}"`,
          'start with a verb ("Returns …") or a noun ("The room that …")',
        );
    }
    wasDocComment = Boolean(comment);
  }
}

const paths = process.argv.slice(2);
const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ...paths], {
  encoding: "utf8",
});
const files = listed.split("\0").filter((file) => file && !skipped.test(file));
for (const file of files) check(file);
if (findings > 0) {
  console.log(`${basename(process.argv[1])}: ${findings} findings in ${files.length} files`);
  process.exit(1);
}
