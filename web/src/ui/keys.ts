// Which keys belong to the control that has the focus, and which to the page.

/** Keys by which a slider, a list or a choice is worked. */
const OWN = new Set([
  "ArrowLeft",
  "ArrowRight",
  "ArrowUp",
  "ArrowDown",
  "Home",
  "End",
  "PageUp",
  "PageDown",
  " ",
  "Enter",
  "Tab",
]);

/**
 * Whether the control needs this key itself. Where text is written it needs all; a list finds its entries by their letters; of a
 * slider, a check box or a button, the page may have the letters.
 */
export function keepsKey(target: Element, key: string): boolean {
  if (target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio])")) return true;
  if (target.matches("input")) return OWN.has(key);
  return (key === " " || key === "Enter") && target.matches("button, a");
}
