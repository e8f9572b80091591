// Of the installed studio: what is shown while its server cannot be reached. Nothing else is kept or answered here.
const SAID = {
  en: ["The studio cannot be reached", "Your pictures are safe there. This page comes back by itself."],
  es: ["No se puede llegar al estudio", "Tus imágenes están a salvo allí. Esta página vuelve sola."],
  eu: ["Ezin da estudiora iritsi", "Zure irudiak seguru daude han. Orri hau bere kabuz itzuliko da."],
};

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate") event.respondWith(fetch(event.request).catch(notice));
});

function notice() {
  const [title, sentence] = SAID[navigator.language.slice(0, 2)] ?? SAID.en;
  const page = `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="5"><title>${title}</title>
    <body style="font: 1rem/1.5 system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh; margin: 0 1.5rem">
    <h1 style="font-size: 1.4rem; margin: 0">${title}</h1><p style="opacity: .8">${sentence}</p>`;
  return new Response(page, { status: 503, headers: { "content-type": "text/html; charset=utf-8" } });
}
