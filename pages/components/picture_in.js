/* A picture that is pasted anywhere on the page, or dropped on it, goes into an uploader that nobody sees. */
(() => {
  if (window.t2iPictureIn) return;
  window.t2iPictureIn = true;
  const field = () => document.querySelector(".st-key-picture_in input[type=file]");
  const pictures = (data) => [...(data?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  const busy = () => !field() || document.querySelector("[role=dialog]");
  const over = (on) => document.querySelector(".st-key-set_prompt")?.classList.toggle("t2i-drop", on);
  const own = (event) => event.target.closest?.("[data-testid=stFileUploaderDropzone]"); // it takes drops itself

  const hand = (file) => {
    const files = new DataTransfer();
    files.items.add(file);
    field().files = files.files;
    field().dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", (event) => {
    const [file] = pictures(event.clipboardData);
    if (!file || busy() || event.clipboardData.types.includes("text/plain")) return; // text that comes as a picture too
    event.preventDefault();
    hand(file);
  });
  document.addEventListener("dragover", (event) => {
    if (busy() || own(event) || ![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault(); // else the browser would open what is dropped in place of the page
    over(true);
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener("drop", (event) => {
    over(false);
    const [file] = pictures(event.dataTransfer);
    if (busy() || own(event)) return;
    if ([...event.dataTransfer.types].includes("Files")) event.preventDefault();
    if (file) hand(file);
  });
})();
