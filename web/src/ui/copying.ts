// The button that copies the report; where the browser gives no clipboard, the text is shown to be copied by hand.

import { byId, setText } from "./dom.js";

const SAYS_MS = 2500;

/** A button that copies what is in a field. */
export function copyFrom(buttonId: string, field: HTMLInputElement): void {
  const button = byId<HTMLButtonElement>(buttonId);
  const label = button.textContent ?? "";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(field.value);
      setText(button, "Copied");
    } catch {
      field.select();
      setText(button, "Copy it from here");
    }
    setTimeout(() => setText(button, label), SAYS_MS);
  });
}

export function attachCopying(text: () => string): void {
  const button = byId<HTMLButtonElement>("copy-report");
  const field = byId<HTMLTextAreaElement>("report-text");
  const label = button.textContent ?? "";
  button.addEventListener("click", async () => {
    const report = text();
    try {
      // Without a secure context there is no clipboard at all.
      await navigator.clipboard.writeText(report);
      setText(button, "Copied");
    } catch {
      field.hidden = false;
      field.value = report;
      field.select();
      setText(button, "Copy it from here");
    }
    setTimeout(() => setText(button, label), SAYS_MS);
  });
  byId("help").addEventListener("close", () => (field.hidden = true));
}
