// The proxies: their recipes, which are read from docs/self-hosting.md, and the changes that make a variant of each.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const docs = readFileSync(join(import.meta.dirname, "../../docs/self-hosting.md"), "utf8");

/** The first indented block after a heading of docs/self-hosting.md. */
function recipe(heading) {
  const lines = (docs.split(`\n${heading}\n`)[1] ?? "").split("\n");
  const first = lines.findIndex((line) => line.startsWith("    "));
  const rest = lines.slice(first);
  const end = rest.findIndex((line) => line && !line.startsWith("    "));
  if (first < 0) throw new Error(`docs/self-hosting.md has no recipe under "${heading}"`);
  return rest
    .slice(0, end)
    .map((line) => line.slice(4))
    .join("\n");
}

/** Replaces parts of a recipe, each of which must be there. */
function replace(text, ...pairs) {
  return pairs.reduce((text, [part, by]) => {
    if (!text.includes(part)) throw new Error(`the recipe does not contain: ${part}\n${text}`);
    return text.replaceAll(part, by);
  }, text);
}

/** What the recipes name, as a test has it. */
const placeholders = ({ folder, host, server }) => [
  ["/etc/ssl/noom", `${folder}/noom`],
  ["noom.example", host],
  ["127.0.0.1:3000", server],
];

/** A variant changes the recipe. A proxy without the function does not have the variant. */
export const proxies = {
  nginx: {
    recipe: recipe("#### nginx"),
    command: (file, { folder }) => ["nginx", "-c", file, "-p", folder],
    config: (recipe, site) => `
daemon off;
pid ${site.folder}/pid;
error_log ${site.folder}/log;
events {}
http {
access_log off;
${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${site.folder}/${name};\n`).join("")}
${replace(recipe, ["listen 443", `listen 127.0.0.1:${site.port}`], ...placeholders(site))}
}
`,
    variants: {
      "without WebSocket": (recipe) => replace(recipe, ["proxy_set_header Upgrade $http_upgrade;", ""]),
      "HTTP/1.1 only": (recipe) => replace(recipe, [" http2;", ";"]),
      buffering: (recipe) =>
        replace(recipe, [
          "location / {",
          `gzip on; gzip_types text/event-stream text/plain; gzip_proxied any;
          location / { proxy_buffering on; proxy_request_buffering on;`,
        ]),
      "idle timeout": (recipe) => replace(recipe, ["proxy_read_timeout 90s;", "proxy_read_timeout 10s;"]),
    },
  },
  caddy: {
    recipe: recipe("#### Caddy"),
    command: (file) => ["caddy", "run", "--adapter", "caddyfile", "--config", file],
    config: (recipe, site) => `
{
    admin off
    auto_https disable_redirects
    storage file_system ${site.folder}
    log {
        output file ${site.folder}/log
    }
    servers {
        protocols h1 ${recipe.includes("# HTTP/1.1 only") ? "" : "h2"}
    }
}
${replace(
  recipe,
  [
    "noom.example {",
    `https://${site.host}:${site.port} {\n    bind 127.0.0.1\n    tls ${site.folder}/noom.pem ${site.folder}/noom.key`,
  ],
  ["127.0.0.1:3000", site.server],
)}
`,
    variants: {
      "without WebSocket": (recipe) =>
        replace(recipe, [
          "reverse_proxy",
          "@websocket header Upgrade websocket\n    respond @websocket 403\n    reverse_proxy",
        ]),
      "HTTP/1.1 only": (recipe) => `# HTTP/1.1 only\n${recipe}`,
      buffering: (recipe) => replace(recipe, ["reverse_proxy", "encode gzip\n    reverse_proxy"]),
    },
  },
  haproxy: {
    recipe: recipe("#### HAProxy"),
    command: (file) => ["haproxy", "-db", "-f", file],
    config: (recipe, site) =>
      `${replace(
        recipe,
        ["bind :443", `bind 127.0.0.1:${site.port}`],
        ["/etc/ssl/noom", `${site.folder}/noom`],
        ["127.0.0.1:3000", site.server],
      )}\n`,
    variants: {
      "without WebSocket": (recipe) =>
        replace(recipe, [
          "option forwardfor",
          "option forwardfor\n    http-request deny if { req.hdr(upgrade) -i websocket }",
        ]),
      "HTTP/1.1 only": (recipe) => replace(recipe, [" alpn h2,http/1.1", " alpn http/1.1"]),
      buffering: (recipe) =>
        replace(recipe, [
          "option forwardfor",
          `option forwardfor
    option http-buffer-request
    compression algo gzip
    compression type text/html text/plain text/event-stream`,
        ]),
      "idle timeout": (recipe) =>
        replace(
          recipe,
          ["timeout client 90s", "timeout client 10s"],
          ["timeout server 90s", "timeout server 10s"],
          ["timeout tunnel 90s", "timeout tunnel 10s"],
        ),
    },
  },
};
