"""A picture in the clipboard is uploaded where a person pastes it, anywhere on the page."""

# gr.Image has a button for that, gr.File has nothing. With text beside it (a word processor's), the
# text is meant.
PASTE = """() => document.addEventListener("paste", event => {
  const box = document.querySelector("#image input[type=file]"), pasted = event.clipboardData;
  if (!box || !pasted.files.length || pasted.types.includes("text/plain")) return;
  box.files = pasted.files;
  box.dispatchEvent(new Event("change"));
})"""
