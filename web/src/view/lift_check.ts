// Whether this GPU lifts as the processor does: a small frame with everything in it that a frame can have, lifted by both.

import type { DepthFrame, DepthLayer } from "../codecs/depth.js";
import { type DepthPixels, PIXEL_WORDS, toPixels } from "../codecs/depth_pixels.js";
import { LIFTED_RANGE, Lifter } from "../codecs/lift.js";
import { ROW, WORDS } from "../codecs/words.js";

const WIDTH = 48;
const HEIGHT = 36;
/** Fields of all splats' words that may be more than a step apart: neighbours at the very limit of belonging together. */
const TOLERATED = 0.005;

/**
 * A slanted wall with a step and a hole in it, a coarser layer behind, and a second camera that is turned and moved. The round one is
 * so far away that it is stored around its own depth.
 */
export function checkFrame(isRound: boolean): DepthPixels {
  const placed = (inverse: number): number => (isRound && inverse > 0 ? 0.02 + 0.004 * inverse : inverse);
  const front = layerOf(
    WIDTH,
    HEIGHT,
    (u, v) => placed(u > 0.4 && u < 0.6 && v < 0.3 ? 0 : u < 0.55 ? 0.4 + 0.2 * u : 0.9 - 0.3 * v),
    true,
  );
  const behind = layerOf(WIDTH / 2, HEIGHT / 2, (u, v) => placed(0.2 + 0.1 * u * v), false);
  const aside = layerOf(WIDTH, HEIGHT, (u, v) => placed(0.5 + 0.25 * Math.sin(5 * u) * v), false);
  const [sin, cos] = [Math.sin(0.5), Math.cos(0.5)];
  const pose = Float32Array.of(cos, 0, sin, 0.2, 0, 1, 0, -0.1, -sin, 0, cos, 0.3);
  const camera = { width: WIDTH, height: HEIGHT, fx: 50, fy: 48, cx: 25, cy: 17 };
  const views = [
    { camera, pose: null, picture: null, layers: [front, behind] },
    { camera, pose, picture: null, layers: [aside] },
  ];
  const layers = views.flatMap((view) => view.layers);
  const pixels = layers.reduce((sum, layer) => sum + layer.inverseDepth.length, 0);
  const kind = isRound ? "points" : "lifted";
  const frame: DepthFrame = { kind, scale: 1, border: 0.03, minOpacity: 0.2, farthest: placed(0.21), views, pixels };
  const room = new Uint32Array(PIXEL_WORDS * ROW * Math.ceil(pixels / ROW));
  return toPixels(frame, layers.map(coloursOf), room);
}

function layerOf(width: number, height: number, inverse: (u: number, v: number) => number, fades: boolean): DepthLayer {
  const at = (i: number): [u: number, v: number] => [(i % width) / width, Math.floor(i / width) / height];
  const inverseDepth = Float32Array.from({ length: width * height }, (_, i) => inverse(...at(i)));
  const opacity = fades ? Uint8Array.from(inverseDepth, (_, i) => 255 * Math.min(1, 4 * at(i)[1])) : null;
  return { width, height, inverseDepth, opacity, colors: null };
}

function coloursOf({ width, height }: DepthLayer): Uint8Array {
  return Uint8Array.from({ length: 4 * width * height }, (_, i) => {
    const [pixel, channel] = [i >> 2, i & 3];
    return 128 + 100 * Math.sin(((pixel % width) / width) * (4 + channel) + Math.floor(pixel / width) / height + channel);
  });
}

/** The words that the processor makes of a frame, splat after splat. */
export function wordsOf(frame: DepthPixels): Uint32Array {
  const words = new Uint32Array(frame.count * WORDS);
  new Lifter().lift(frame, LIFTED_RANGE, words);
  return words;
}

/**
 * Says where words that were made on a GPU are not those that the processor made.
 *
 * @param expected Splat after splat.
 * @param words The GPU's, with zeros in between.
 * @returns null where they agree: as many splats, in the same order, of the same colours, almost all else within a step.
 */
export function differenceBetween(expected: Uint32Array, words: Uint32Array): string | null {
  const count = expected.length / WORDS;
  let at = 0;
  let farApart = 0;
  for (let i = 0; i < words.length; i += WORDS) {
    if (words[i]! >>> 24 === 0) continue;
    if (at < expected.length) {
      if (words[i] !== expected[at]) return `colour ${hex(expected[at]!)} of splat ${at / WORDS}; got ${hex(words[i]!)}`;
      const [ours, theirs] = [fieldsAt(expected, at), fieldsAt(words, i)];
      farApart += ours.filter((field, j) => Math.abs(field - theirs[j]!) > 1).length;
    }
    at += WORDS;
  }
  if (at !== expected.length) return `${count} splats; got ${at / WORDS}`;
  const most = Math.floor(TOLERATED * count * FIELDS);
  return farApart > most ? `at most ${most} of ${count * FIELDS} fields more than a step apart; got ${farApart}` : null;
}

/** Of a splat, but for its colour. */
const FIELDS = 9;

/** x, y, z in steps of a half, two bytes of the axis, three of the scales, one of the angle. */
function fieldsAt(words: Uint32Array, at: number): number[] {
  const [xy, zAxis, scales] = [words[at + 1]!, words[at + 2]!, words[at + 3]!];
  const steps = (half: number): number => (half & 0x8000 ? -(half & 0x7fff) : half);
  const bytes = [scales, scales >>> 8, scales >>> 16, scales >>> 24].map((word) => word & 255);
  return [steps(xy & 0xffff), steps(xy >>> 16), steps(zAxis & 0xffff), (zAxis >>> 16) & 255, zAxis >>> 24, ...bytes];
}

function hex(word: number): string {
  return `0x${word.toString(16).padStart(8, "0")}`;
}
