// How far the pictures are, in the tab's title; and, where that is wished and the tab is not looked at, a notification.
((told) => {
  document.title = told.title;
  const before = window.t2iDone;
  window.t2iDone = told.done.map((one) => one.id);
  if (!told.wished || !("Notification" in window)) return;
  if (Notification.permission === "default" && !window.t2iAsked) {
    window.t2iAsked = true;
    Notification.requestPermission();
  }
  if (!before || !document.hidden || Notification.permission !== "granted") return;
  for (const one of told.done) if (!before.includes(one.id)) say(one);

  async function say(one) {
    const about = { body: one.prompt, tag: one.id, icon: told.icon };
    const worker = await navigator.serviceWorker?.getRegistration(); // on Android it alone may
    if (worker) worker.showNotification(told.said, about);
    else new Notification(told.said, about);
  }
})(TOLD);
