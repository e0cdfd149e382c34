// Finishes the site's folder: `node scripts/site.mjs FOLDER [--release]`. noom-wasm has put the WASM and its
// bindings into FOLDER/pkg; this adds the style sheet and the assets. With --release it also optimizes the WASM,
// minifies the bindings and compresses every file ahead of time.
import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const require = createRequire(new URL("../end2end/package.json", import.meta.url));
const [folder, mode] = process.argv.slice(2);
const pkg = join(folder, "pkg");

// Equals `browserquery` in Cargo.toml, which cargo-leptos reads for `make dev`; a test compares them.
const browsers = "defaults and not op_mini all";

function style() {
  const { browserslistToTargets, bundle } = require("lightningcss");
  const targets = browserslistToTargets(require("browserslist")(browsers));
  writeFileSync(join(pkg, "noom.css"), bundle({ filename: "style/main.css", minify: true, targets }).code);
}

function optimize(file) {
  const features = ["--enable-bulk-memory", "--enable-nontrapping-float-to-int"];
  // It warns of sections that it does not know; its output matters only if it fails.
  execFileSync("wasm-opt", ["-Oz", ...features, file, "-o", file], {
    encoding: "utf8",
    stdio: "pipe",
    maxBuffer: 64 * 1024 * 1024,
  });
}

function minify(file) {
  const { code } = require("esbuild").transformSync(readFileSync(file, "utf8"), { minify: true, format: "esm" });
  writeFileSync(file, code);
}

function compress(file) {
  const content = readFileSync(file);
  const params = { [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
  writeFileSync(`${file}.br`, brotliCompressSync(content, { params }));
  writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
}

style();
cpSync("public", folder, { recursive: true });
execFileSync(process.execPath, ["scripts/emoji.mjs", folder], { stdio: "inherit" });
if (mode === "--release") {
  for (const name of readdirSync(pkg)) {
    if (name.endsWith(".wasm")) optimize(join(pkg, name));
    if (name.endsWith(".js")) minify(join(pkg, name));
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) compress(join(entry.parentPath, entry.name));
  }
}
