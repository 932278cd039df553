// The settings panel: form controls ↔ Settings.

import { CAPTURE_SIDES, PRESETS, presetOf, type Settings } from "../config.js";
import type { State } from "../state.js";
import { byId, make, setText } from "./dom.js";
import type { Store } from "./store.js";

export class SettingsPanel {
  private readonly presets = [...document.querySelectorAll<HTMLInputElement>("#detail input")];
  private readonly detail = byId<HTMLInputElement>("set-detail");
  private readonly side = byId<HTMLSelectElement>("set-side");
  private readonly fps = byId<HTMLInputElement>("set-fps");
  private readonly quality = byId<HTMLInputElement>("set-quality");
  private readonly splats = byId<HTMLInputElement>("set-splats");
  private readonly adapt = byId<HTMLInputElement>("set-adapt");
  private readonly fewest = byId<HTMLInputElement>("set-fewest");
  private readonly opacity = byId<HTMLInputElement>("set-opacity");
  private readonly fieldOfView = byId<HTMLInputElement>("set-fov");
  private readonly flags = {
    exactOrder: byId<HTMLInputElement>("set-exact"),
    mirror: byId<HTMLInputElement>("set-mirror"),
    freeOrbit: byId<HTMLInputElement>("set-free"),
  };

  constructor(store: Store<State>, change: (patch: Partial<Settings>) => void) {
    for (const radio of this.presets) {
      radio.addEventListener("change", () => change({ ...PRESETS[radio.value] }));
    }
    const sides = new Set<number>([...CAPTURE_SIDES, store.get().settings.captureSide]);
    for (const px of [...sides].sort((a, b) => a - b)) {
      const option = make("option", `${px} px`);
      option.value = String(px);
      this.side.append(option);
    }
    this.side.addEventListener("change", () => change({ captureSide: Number(this.side.value) }));
    const onInput = (input: HTMLInputElement, patch: (value: number) => Partial<Settings>): void =>
      input.addEventListener("input", () => change(patch(input.valueAsNumber)));
    onInput(this.detail, (inferencePx) => ({ inferencePx }));
    onInput(this.fps, (maxFps) => ({ maxFps }));
    onInput(this.quality, (jpegQuality) => ({ jpegQuality }));
    onInput(this.splats, (maxSplats) => ({ maxSplats }));
    onInput(this.fewest, (minSplats) => ({ minSplats }));
    this.adapt.addEventListener("change", () => change({ adapt: this.adapt.checked }));
    onInput(this.opacity, (minOpacity) => ({ minOpacity }));
    onInput(this.fieldOfView, (fieldOfView) => ({ fieldOfView }));
    for (const [key, input] of Object.entries(this.flags)) {
      input.addEventListener("change", () => change({ [key]: input.checked }));
    }
    store.subscribe((state) => this.show(state));
  }

  private show({ settings, options, limits }: Readonly<State>): void {
    const most = limits?.max_splats ?? 200_000;
    const splats = Math.min(most, settings.maxSplats ?? options.max_splats ?? most);
    const opacity = settings.minOpacity ?? options.min_opacity ?? 0;
    const fewest = Math.min(splats, settings.minSplats ?? options.min_splats ?? most);
    this.splats.max = this.fewest.max = String(Math.max(most, Number(this.splats.min)));
    this.adapt.checked = settings.adapt ?? options.adapt ?? true;
    this.fewest.disabled = !this.adapt.checked;
    this.side.value = String(settings.captureSide);
    const preset = presetOf(settings);
    for (const radio of this.presets) radio.checked = radio.value === preset;
    // What was typed in an address may be above the server's most, which is what is in force.
    const finest = limits?.max_inference_px ?? 1008;
    const px = Math.min(finest, settings.inferencePx ?? options.inference_px ?? 0);
    this.detail.max = String(finest);
    const values = [
      [this.detail, px, px > 0 ? `${px} px` : "the model's own", "out-detail"],
      [this.fps, settings.maxFps, `${settings.maxFps}`, "out-fps"],
      [this.quality, settings.jpegQuality, `${Math.round(settings.jpegQuality * 100)}%`, "out-quality"],
      [this.splats, splats, splats.toLocaleString("en"), "out-splats"],
      [this.fewest, fewest, fewest.toLocaleString("en"), "out-fewest"],
      [this.opacity, opacity, opacity.toFixed(2), "out-opacity"],
      [this.fieldOfView, settings.fieldOfView, `${Math.round(settings.fieldOfView * 100)}%`, "out-fov"],
    ] as const;
    for (const [input, value, text, output] of values) {
      input.valueAsNumber = value;
      setText(byId(output), text);
    }
    for (const [key, input] of Object.entries(this.flags)) input.checked = settings[key as keyof typeof this.flags];
  }
}
