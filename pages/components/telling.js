// How far the pictures are, in the tab's title; and, where that is wished and the tab is not looked at, a notification.
((told) => {
  document.title = told.title;
  const before = window.t2iDone;
  window.t2iDone = told.done.map((one) => one.id);
  if (!told.wished || !("Notification" in window)) return;
  if (Notification.permission === "default") Notification.requestPermission();
  if (!before || !document.hidden || Notification.permission !== "granted") return;
  for (const one of told.done)
    if (!before.includes(one.id)) new Notification(told.said, { body: one.prompt, tag: one.id, icon: told.icon });
})(TOLD);
