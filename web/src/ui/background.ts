// The page's background, for pictures and films of the view: what is saved is what is on the screen.

import { byId } from "./dom.js";

/** Paints it behind what a canvas holds: the gradient that viewer.css gives the body. */
export function paintBackground(canvas: HTMLCanvasElement): void {
  const { width, height } = canvas;
  const context = canvas.getContext("2d")!;
  const gradient = context.createRadialGradient(0, 0, 0, 0, 0, 1);
  gradient.addColorStop(0, colourOf("--near"));
  gradient.addColorStop(0.45, colourOf("--middle"));
  gradient.addColorStop(1, colourOf("--far"));
  context.save();
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = gradient;
  context.translate(0.5 * width, 0.38 * height);
  context.scale(1.2 * width, 0.9 * height);
  context.fillRect(-1, -1, 2, 2);
  context.restore();
}

/** The one colour that is nearest to it. */
export function plainBackground(): string {
  return colourOf("--middle");
}

/** Of a custom property, which by itself is only words: the theme decides. */
function colourOf(property: string): string {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.color = `var(${property})`;
  byId("shell").append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
