// A small scene for the browser check, written in each codec by hand, with the words that must come out.
// The unit tests use it too. The bytes are put together independently of the decoders.

import type { Camera } from "../stream/messages.js";

export interface SceneSplat {
  centre: [number, number, number];
  rgb: [number, number, number];
}

/** Standard deviation of the splats: large in the picture, so that a pixel in their middle has their colour. */
const SCALE = 0.09;
const LN_SCALE = { packed: [-8, 2], points: [-10, 3], ply: [-12, 9] } as const;
const SH_C0 = 0.28209479177387814;
/** f16 of the coordinates the scene uses, written down rather than computed. */
const HALF = new Map([
  [-0.5, 0xb800],
  [0.5, 0x3800],
  [2, 0x4000],
]);
/** No rotation: theta 0 about the x axis, octahedral (1, 0) → bytes 255 and 128. */
const OCT_U = 255;
const OCT_V = 128;

/** Upper left, and lower right, of what the capture camera sees. */
export function aScene(
  upperLeft: SceneSplat["rgb"] = [255, 64, 32],
  lowerRight: SceneSplat["rgb"] = [32, 96, 255],
): SceneSplat[] {
  return [
    { centre: [-0.5, -0.5, 2], rgb: upperLeft },
    { centre: [0.5, 0.5, 2], rgb: lowerRight },
  ];
}

export function expectedRange(codec: string): object {
  const [lnScaleMin, lnScaleMax] = LN_SCALE[codec as keyof typeof LN_SCALE];
  return { rgbMin: 0, rgbMax: 1, lnScaleMin, lnScaleMax, zOffset: 0 };
}

/** The words a decoder must give for {@link sceneAs}. */
export function expectedWords(codec: string, scene: SceneSplat[], camera: Camera): Uint32Array {
  const [low, high] = LN_SCALE[codec as keyof typeof LN_SCALE];
  const pitchPx = Math.sqrt((camera.width * camera.height) / scene.length);
  return Uint32Array.from(
    scene.flatMap(({ centre, rgb }) => {
      const [x, y, z] = centre.map((value) => HALF.get(value)!) as [number, number, number];
      // A point's size follows from the pixels it stands for at its depth.
      const scale = codec === "points" ? (0.68 * pitchPx * centre[2]) / camera.fx : SCALE;
      const alpha = codec === "points" ? 250 : 255;
      const byte = 1 + Math.round((254 * (Math.log(scale) - low)) / (high - low));
      return [
        (rgb[0] | (rgb[1] << 8) | (rgb[2] << 16) | (alpha << 24)) >>> 0,
        (x | (y << 16)) >>> 0,
        (z | (OCT_U << 16) | (OCT_V << 24)) >>> 0,
        byte | (byte << 8) | (byte << 16),
      ];
    }),
  );
}

/** The scene's bytes in a codec. */
export function sceneAs(codec: string, scene: SceneSplat[]): Uint8Array {
  if (codec === "packed") return asPacked(scene);
  return codec === "points" ? asPoints(scene) : asPly(scene);
}

function asPacked(scene: SceneSplat[]): Uint8Array {
  const data = new DataView(new ArrayBuffer(32 + 16 * scene.length));
  [..."SPPK"].forEach((letter, i) => data.setUint8(i, letter.charCodeAt(0)));
  data.setUint8(4, 1);
  data.setUint32(8, scene.length, true);
  data.setFloat32(12, 0, true);
  data.setFloat32(16, 1, true);
  data.setFloat32(20, LN_SCALE.packed[0], true);
  data.setFloat32(24, LN_SCALE.packed[1], true);
  expectedWords("packed", scene, { width: 1, height: 1, fx: 1, fy: 1, cx: 0, cy: 0 }).forEach((word, i) =>
    data.setUint32(32 + 4 * i, word, true),
  );
  return new Uint8Array(data.buffer);
}

function asPoints(scene: SceneSplat[]): Uint8Array {
  const data = new DataView(new ArrayBuffer(16 + 15 * scene.length));
  [..."SPPT"].forEach((letter, i) => data.setUint8(i, letter.charCodeAt(0)));
  data.setUint8(4, 1);
  data.setUint32(8, scene.length, true);
  scene.forEach(({ centre, rgb }, i) => {
    centre.forEach((value, axis) => data.setFloat32(16 + 12 * i + 4 * axis, value, true));
    rgb.forEach((value, channel) => data.setUint8(16 + 12 * scene.length + 3 * i + channel, value));
  });
  return new Uint8Array(data.buffer);
}

function asPly(scene: SceneSplat[]): Uint8Array {
  const names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"];
  names.push("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3");
  const lines = ["ply", "format binary_little_endian 1.0", "comment by hand", `element vertex ${scene.length}`];
  const header = new TextEncoder().encode(
    [...lines, ...names.map((name) => `property float ${name}`), "end_header", ""].join("\n"),
  );
  const values = scene.flatMap(({ centre, rgb }) => {
    const colour = rgb.map((value) => (value / 255 - 0.5) / SH_C0);
    const ln = Math.log(SCALE);
    return [...centre, 0, 0, 0, ...colour, 20, ln, ln, ln, 1, 0, 0, 0];
  });
  const data = new Uint8Array(header.length + 4 * values.length);
  data.set(header);
  const view = new DataView(data.buffer, header.length);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return data;
}
