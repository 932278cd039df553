/** The element with this id. The page and its script are built together, so a missing one is a defect. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as unknown as T;
}

/** Sets the text only where it differs: screen readers announce every write to a live region. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A new element with text in it. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, text = "", className = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

/** Offers `blob` as a file. */
export function saveAs(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = make("a");
  link.href = url;
  link.download = name;
  link.click();
  // The download reads the URL after the click: revoked in the same task, Safari saves nothing.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A file name with the time in it, without characters that a file system refuses. */
export function timedName(suffix: string): string {
  return `splatcast-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-")}.${suffix}`;
}
