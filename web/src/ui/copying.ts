// Buttons that copy a text; where the browser gives no clipboard, the text is shown to be copied by hand.

import { byId, setText } from "./dom.js";

const SAYS_MS = 2500;

/** A button that copies what is in a field. */
export function copyFrom(buttonId: string, field: HTMLInputElement): void {
  copyOnClick(
    buttonId,
    () => field.value,
    () => field.select(),
  );
}

/** The button that copies the report. */
export function attachCopying(text: () => string): void {
  const field = byId<HTMLTextAreaElement>("report-text");
  copyOnClick("copy-report", text, (report) => {
    field.hidden = false;
    field.value = report;
    field.select();
  });
  byId("help").addEventListener("close", () => (field.hidden = true));
}

function copyOnClick(buttonId: string, text: () => string, offer: (text: string) => void): void {
  const button = byId<HTMLButtonElement>(buttonId);
  const label = button.textContent ?? "";
  button.addEventListener("click", async () => {
    const copied = text();
    try {
      // Without a secure context there is no clipboard at all.
      await navigator.clipboard.writeText(copied);
      setText(button, "Copied");
    } catch {
      offer(copied);
      setText(button, "Copy it from here");
    }
    setTimeout(() => setText(button, label), SAYS_MS);
  });
}
