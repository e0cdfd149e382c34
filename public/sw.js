// The service worker: keeps copies of the pages that the user has left, and shows them while the server cannot be
// reached; and opens the room of a notification. All other requests go to the network as if there were none.

/** The cache of the site's files that the copies need. */
const FILES = "noom-files";
/** The prefix of the cache of a user's pages. There is only one at a time. */
const PAGES = "noom-pages-";
const MOST_PAGES = 50;
const MAX_AGE_MS = 30 * 24 * 60 * 60 * 1_000;
/** The site's files of this many builds are kept: a copy may be older than the newest build. */
const MOST_BUILDS = 3;

/** The answers of a proxy whose server is gone, and of a server that is about to stop. */
const UNAVAILABLE = [502, 503, 504];

/** The documents that show a copy. Their files come from the cache. */
const copies = new Set();

const isPage = (path) => path === "/" || /^\/r\/[^/]+$/.test(path);

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  // The request for a page does not wait for the start of the service worker.
  event.waitUntil(Promise.all([self.clients.claim(), self.registration.navigationPreload?.enable()]));
});

self.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== self.location.origin) return;
  if (event.request.mode === "navigate" && isPage(pathname)) {
    event.respondWith(page(event, pathname));
  } else if (copies.has(event.clientId) && pathname.startsWith("/static/")) {
    event.respondWith(file(event.request));
  }
});

async function page(event, path) {
  let response;
  try {
    response = (await event.preloadResponse) ?? (await fetch(event.request));
  } catch {
    // The server cannot be reached.
  }
  if (response && !UNAVAILABLE.includes(response.status)) return response;
  const copy = await caches.match(path, { ignoreVary: true });
  if (copy) {
    copies.add(event.resultingClientId);
    return copy;
  }
  if (response) return response;
  const hasHome = path !== "/" && (await caches.match("/", { ignoreVary: true }));
  return hasHome ? Response.redirect("/") : Response.error();
}

async function file(request) {
  return (await caches.match(request.url, { ignoreVary: true })) ?? fetch(request);
}

/** JSON; `src/client/service_worker.rs` has its fields. */
self.addEventListener("message", (event) => {
  const { keep, close_notification } = JSON.parse(event.data);
  if (keep) event.waitUntil(keepCopy(keep.path, keep.user, keep.files));
  if (close_notification) event.waitUntil(closeNotification(close_notification.room));
});

async function keepCopy(path, user, files) {
  const name = PAGES + user;
  // Another person uses this browser now.
  const others = (await caches.keys()).filter((other) => other.startsWith(PAGES) && other !== name);
  await Promise.all(others.map((other) => caches.delete(other)));
  const pages = await caches.open(name);
  await keepFiles(files);
  await keepPage(pages, path);
  // An installed app starts here.
  if (!(await pages.match("/", { ignoreVary: true }))) await keepPage(pages, "/");
  await removeOldPages(pages);
}

async function keepPage(pages, path) {
  try {
    const response = await fetch(path);
    if (response.ok && !response.redirected) await pages.put(path, response);
  } catch {
    // The earlier copy, if there is one, is kept.
  }
}

async function keepFiles(addresses) {
  const cache = await caches.open(FILES);
  for (const address of addresses) {
    if (await cache.match(address, { ignoreVary: true })) continue;
    try {
      // The browser has it already.
      await cache.add(new Request(address, { cache: "force-cache" }));
    } catch {
      // A page without script still shows its messages.
    }
  }
  const build = (request) => new URL(request.url).pathname.split("/")[2];
  const kept = await cache.keys();
  const newest = [...new Set(kept.map(build))].slice(-MOST_BUILDS);
  await Promise.all(kept.filter((request) => !newest.includes(build(request))).map((request) => cache.delete(request)));
}

async function removeOldPages(pages) {
  // In the order in which they were put there.
  const requests = await pages.keys();
  const oldest = requests.slice(0, Math.max(0, requests.length - MOST_PAGES));
  const now = Date.now();
  for (const request of requests) {
    const date = (await pages.match(request, { ignoreVary: true }))?.headers.get("date");
    if (oldest.includes(request) || now - Date.parse(date ?? "") > MAX_AGE_MS) await pages.delete(request);
  }
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});

async function closeNotification(room) {
  for (const notification of await self.registration.getNotifications({ tag: room })) notification.close();
}

async function open(path) {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const shown = windows.find((client) => new URL(client.url).pathname === path);
  return shown ? shown.focus() : self.clients.openWindow(path);
}
