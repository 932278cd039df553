// What can be opened and closed: the settings, the tray of controls of a small window, and all panels at once.

import { byId } from "./dom.js";

export interface Disclosures {
  toggleSettings(): void;
  /** Hides all panels, or shows them again. */
  toggleBare(): void;
  /** Closes what was opened last over the view. Returns whether there was something. */
  closeOne(): boolean;
}

export function attachPanels(): Disclosures {
  const settings = byId("settings");
  const settingsToggle = byId("settings-toggle");
  const more = byId("more");
  const show = byId("show");
  const isOpen = (toggle: Element): boolean => toggle.getAttribute("aria-expanded") === "true";
  const setMore = (open: boolean): void => more.setAttribute("aria-expanded", String(open));
  const setSettings = (open: boolean): void => {
    // The focus must not stay in what is hidden.
    const back = settings.contains(document.activeElement);
    settings.hidden = !open;
    settingsToggle.setAttribute("aria-expanded", String(open));
    if (back) (settingsToggle.checkVisibility() ? settingsToggle : more).focus();
  };
  const setBare = (bare: boolean): void => {
    document.body.classList.toggle("bare", bare);
    show.hidden = !bare;
    if (bare) show.focus({ preventScroll: true });
    else byId("view").focus({ preventScroll: true });
  };
  more.addEventListener("click", () => setMore(!isOpen(more)));
  show.addEventListener("click", () => setBare(false));
  byId("settings-close").addEventListener("click", () => setSettings(false));
  return {
    toggleSettings: () => {
      setSettings(Boolean(settings.hidden));
      if (settings.hidden) return;
      // In a small window the tray would take the settings' room.
      setMore(false);
      if (!settingsToggle.checkVisibility()) byId("settings-close").focus();
    },
    toggleBare: () => setBare(!document.body.classList.contains("bare")),
    closeOne: () => {
      if (!settings.hidden) setSettings(false);
      else if (isOpen(more) && more.checkVisibility()) setMore(false);
      else if (!show.hidden) setBare(false);
      else return false;
      return true;
    },
  };
}
