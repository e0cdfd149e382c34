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

/** The documents that show a copy, until the service worker is stopped. Their files come from the cache. */
const copies = new Set();

const isPage = (path) => path === "/" || /^\/r\/[^/]+$/.test(path);

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  // The request for a page does not wait for the start of the service worker.
  event.waitUntil(Promise.all([self.clients.claim(), self.registration.navigationPreload?.enable(), removeOldPages()]));
});

self.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== self.location.origin) return;
  if (event.request.mode === "navigate") {
    event.respondWith(isPage(pathname) ? page(event, pathname) : load(event));
  } else if (copies.has(event.clientId) && pathname.startsWith("/static/")) {
    event.respondWith(file(event.request));
  }
});

/** Every navigation takes its preloaded response, which the browser would request again otherwise. */
async function load(event) {
  return (await event.preloadResponse) ?? fetch(event.request);
}

async function page(event, path) {
  let response;
  try {
    response = await load(event);
  } catch {
    // The server cannot be reached.
  }
  if (response && !UNAVAILABLE.includes(response.status)) return response;
  const copy = await caches.match(path, { ignoreVary: true });
  if (copy && !isOld(copy)) {
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
  const { keep, set_user, notify, close_notification } = JSON.parse(event.data);
  if (keep) event.waitUntil(keepCopy(keep.path, keep.user, keep.files));
  if (set_user) event.waitUntil(removeOthers(set_user.user));
  if (notify) event.waitUntil(showNotification(notify));
  if (close_notification) event.waitUntil(closeNotification(close_notification.room));
});

async function keepCopy(path, user, files) {
  await removeOthers(user);
  const pages = await caches.open(PAGES + user);
  await keepFiles(files);
  await keepPage(pages, path);
  await removeOldPages();
}

/** Removes the copies of the people who have used this browser before. */
async function removeOthers(user) {
  const others = (await caches.keys()).filter((name) => name.startsWith(PAGES) && name !== PAGES + user);
  await Promise.all(others.map((name) => caches.delete(name)));
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

const isOld = (copy) => Date.now() - Date.parse(copy.headers.get("date") ?? "") > MAX_AGE_MS;

async function removeOldPages() {
  for (const name of (await caches.keys()).filter((name) => name.startsWith(PAGES))) {
    const pages = await caches.open(name);
    // In the order in which they were put there.
    const requests = await pages.keys();
    const oldest = requests.slice(0, Math.max(0, requests.length - MOST_PAGES));
    for (const request of requests) {
      const copy = await pages.match(request, { ignoreVary: true });
      if (oldest.includes(request) || (copy && isOld(copy))) await pages.delete(request);
    }
  }
}

const tabs = () => self.clients.matchAll({ type: "window", includeUncontrolled: true });

/** Asks a tab whether it shows a room and the user sees its messages. Its address may be that of an earlier page. */
function look(tab, room) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve({ tab, ...JSON.parse(data) });
    tab.postMessage(room, [port2]);
    // The tab may be suspended, or is being closed.
    setTimeout(() => resolve({ tab, shows: false, sees: false }), 500);
  });
}

const lookAll = async (room) => Promise.all((await tabs()).map((tab) => look(tab, room)));

async function showNotification({ room, path, body, is_message }) {
  if ((await lookAll(room)).some(({ sees }) => sees)) return;
  // Another tab shows the room, and has told the message itself. A later number says more.
  const [shown] = await self.registration.getNotifications({ tag: room });
  if (shown?.data.is_message && !is_message && Date.now() - shown.timestamp < 2_000) return;
  await self.registration.showNotification(room, {
    body,
    tag: room,
    icon: "/icon-192.png",
    data: { path, is_message },
  });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.tag, event.notification.data.path));
});

async function closeNotification(room) {
  for (const notification of await self.registration.getNotifications({ tag: room })) notification.close();
}

async function open(room, path) {
  const shown = (await lookAll(room)).find(({ shows }) => shows);
  return shown ? shown.tab.focus() : self.clients.openWindow(path);
}
