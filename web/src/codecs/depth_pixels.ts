// A `depth` frame as the pixels that lifting works on: layer after layer, row by row, two 32-bit words each.
//
//   w0  R | G<<8 | B<<16 | A<<24    of the splat, as in words.ts; A = 0: the pixel makes none
//   w1  inverse depth, float32      0: there is no surface; pixels that make no splat have it too, their neighbours slope by it
//
// Which pixels make splats is decided here and nowhere else, so that every lifter makes the same number of them. What decides is
// rounded to float32 as the server rounds it (splats/lifting.py, layer_lifting.py, pruning.py).

import type { Camera } from "../stream/messages.js";
import { aligned, DecodeError } from "./codec.js";
import { DEPTH_NAME, type DepthFrame, type DepthLayer, type DepthView } from "./depth.js";
import { farOffset } from "./far.js";

/** 32-bit words of a pixel. */
export const PIXEL_WORDS = 2;

/** The server's constants, see splats/lifting.py and splats/layer_lifting.py. */
export const MAX_SLOPE = 3.5;
export const OPACITY = Math.fround(0.98);
const JUMP = 0.02;
const HIDDEN_GROWTH = Math.fround(1.35);
const SMALLEST = Math.fround(1e-6);
const LARGEST = Math.fround(1e6);

const f32 = Math.fround;

/** How a view's splats get to the first camera's frame: the turn back, [3, 3] row by row, its quaternion, the translation. */
export interface Move {
  readonly turn: Float64Array;
  readonly quat: readonly [w: number, x: number, y: number, z: number];
  readonly shift: readonly [x: number, y: number, z: number];
}

/** One layer's place among the pixels, and its geometry. */
export interface PixelLayer {
  /** Index of its first pixel. */
  readonly first: number;
  readonly width: number;
  readonly height: number;
  /** Intrinsics in pixels of this layer, float32. */
  readonly fx: number;
  readonly fy: number;
  readonly cx: number;
  readonly cy: number;
  /** Relative step of inverse depth between neighbours that is an edge. */
  readonly jump: number;
  /** How much larger its splats are than a pixel's: those behind the front close gaps. */
  readonly growth: number;
  /** null: it is the first camera's. */
  readonly move: Move | null;
}

/** A frame to lift. Can be sent between threads. */
export interface DepthPixels {
  /** As long as the buffer that was given; zero after the last pixel. */
  readonly pixels: Uint32Array<ArrayBuffer>;
  readonly layers: readonly PixelLayer[];
  /** Round splats of a pixel's size instead of flat ones along the surface. */
  readonly isRound: boolean;
  /** Pixels that make a splat. */
  readonly count: number;
  /** What is taken off the z of every splat, see far.ts. */
  readonly zOffset: number;
}

/** Views and their layers, in the order in which {@link toPixels} wants their colours. */
export function layersOf(frame: DepthFrame): { view: DepthView; layer: DepthLayer }[] {
  return frame.views.flatMap((view) => view.layers.map((layer) => ({ view, layer })));
}

/**
 * @param frame A decoded frame.
 * @param rgba Colours of each layer, see {@link layersOf}; 4 bytes a pixel of the layer, the fourth unused.
 * @param into Where to put the pixels.
 * @throws DecodeError If a picture's size is not its layer's, or the pixels don't fit.
 */
export function toPixels(frame: DepthFrame, rgba: readonly Uint8Array[], into: Uint32Array<ArrayBuffer>): DepthPixels {
  const all = layersOf(frame);
  if (rgba.length !== all.length) throw new DecodeError(DEPTH_NAME, `${all.length} pictures`, `${rgba.length}`);
  all.forEach(({ layer: { width, height } }, i) => {
    const bytes = rgba[i]!.length;
    if (bytes !== 4 * width * height) throw new DecodeError(DEPTH_NAME, `a picture of ${width}×${height}`, `${bytes} bytes`);
  });
  if (into.length < frame.pixels * PIXEL_WORDS) {
    throw new DecodeError(DEPTH_NAME, `room for ${frame.pixels} splats`, `${into.length / PIXEL_WORDS}`);
  }
  const alphas = alphasFor(frame.minOpacity);
  const layers: PixelLayer[] = [];
  let first = 0;
  let count = 0;
  for (const [i, { view, layer }] of all.entries()) {
    const placed = place(view, layer, first);
    layers.push(placed);
    count += write(frame, layer, placed, alphas, aligned(rgba[i]!), into);
    first += layer.width * layer.height;
  }
  into.fill(0, first * PIXEL_WORDS);
  return { pixels: into, layers, isRound: frame.kind === "points", count, zOffset: offsetOf(into, layers) };
}

/** By the first camera's layers: z is its depth. Splats of others may be as near as they like, which costs precision only. */
function offsetOf(pixels: Uint32Array<ArrayBuffer>, layers: readonly PixelLayer[]): number {
  const inverse = new Float32Array(pixels.buffer, pixels.byteOffset, pixels.length);
  const own = layers.filter(({ move }) => move === null);
  const count = own.reduce((sum, { width, height }) => sum + width * height, 0);
  // The first camera is the first view: its layers come first.
  return farOffset(count, (i) => (pixels[PIXEL_WORDS * i]! >>> 24 ? 1 / inverse[PIXEL_WORDS * i + 1]! : 0), false);
}

function place(view: DepthView, layer: DepthLayer, first: number): PixelLayer {
  const { width, height } = layer;
  const isBehind = layer !== view.layers[0];
  const camera = isBehind ? scaleCamera(view.camera, width, height) : view.camera;
  const [fx, fy, cx, cy] = [f32(camera.fx), f32(camera.fy), f32(camera.cx), f32(camera.cy)];
  const jump = f32(JUMP + MAX_SLOPE / Math.max(Math.min(camera.fx, camera.fy), 1));
  const move = view.pose ? moveOf(view.pose) : null;
  return { first, width, height, fx, fy, cx, cy, jump, growth: isBehind ? HIDDEN_GROWTH : 1, move };
}

/** The splat's alpha by the layer's opacity, 0..255, in the word's upper byte; 0: it is too faint. */
function alphasFor(minOpacity: number): Int32Array {
  return Int32Array.from({ length: 256 }, (_, alpha) => {
    const opacity = f32(OPACITY * f32(alpha / 255));
    return opacity >= f32(minOpacity) ? Math.round(opacity * 255) << 24 : 0;
  });
}

/** Writes a layer's pixels; returns how many of them make a splat. */
function write(
  frame: DepthFrame,
  layer: DepthLayer,
  placed: PixelLayer,
  alphas: Int32Array,
  rgba: Uint8Array,
  into: Uint32Array<ArrayBuffer>,
): number {
  const { width, height, inverseDepth, opacity } = layer;
  const colours = new Uint32Array(rgba.buffer, rgba.byteOffset, width * height);
  const floats = new Float32Array(into.buffer, into.byteOffset, into.length);
  const [left, right] = withinBorder(frame.border, width);
  const [top, bottom] = withinBorder(frame.border, height);
  const opaque = alphas[255]!;
  let count = 0;
  for (let v = 0, i = 0, at = placed.first * PIXEL_WORDS; v < height; v++) {
    const [low, high] = v >= top && v < bottom ? [left, right] : [width, width];
    for (let u = 0; u < width; u++, i++, at += PIXEL_WORDS) {
      const inverse = inverseDepth[i]!;
      const isSurface = inverse > SMALLEST && inverse < LARGEST;
      const alpha = isSurface && u >= low && u < high ? (opacity === null ? opaque : alphas[opacity[i]!]!) : 0;
      if (alpha !== 0) count++;
      into[at] = (colours[i]! & 0xffffff) | alpha;
      floats[at + 1] = isSurface ? inverse : 0;
    }
  }
  return frame.farthest > 0 ? count - hideFar(f32(1 / frame.farthest), placed, into, floats) : count;
}

/** Takes out splats that lie beyond a depth in the first camera's frame; returns how many those were. */
function hideFar(maxDepth: number, placed: PixelLayer, into: Uint32Array, floats: Float32Array): number {
  const { first, width, height, fx, fy, cx, cy, move } = placed;
  const [px, py] = [f32(1 / fx), f32(1 / fy)];
  let hidden = 0;
  for (let v = 0, at = first * PIXEL_WORDS; v < height; v++) {
    const y = f32(f32(v + 0.5 - cy) * py);
    for (let u = 0; u < width; u++, at += PIXEL_WORDS) {
      if (into[at]! >>> 24 === 0) continue;
      const z = f32(1 / floats[at + 1]!);
      let depth = z;
      if (move !== null) {
        const { turn, shift } = move;
        const x = f32(f32(u + 0.5 - cx) * px);
        const [dx, dy, dz] = [f32(f32(x * z) - shift[0]), f32(f32(y * z) - shift[1]), f32(z - shift[2])];
        depth = f32(turn[6]! * dx + turn[7]! * dy + turn[8]! * dz);
      }
      if (!(depth > maxDepth)) continue;
      into[at] = into[at]! & 0xffffff;
      hidden++;
    }
  }
  return hidden;
}

/** First and last-but-one cells of a side that are within the border. */
function withinBorder(border: number, cells: number): [first: number, end: number] {
  const low = f32(border * cells);
  const high = f32(f32(1 - border) * cells);
  let first = 0;
  while (first < cells && first + 0.5 < low) first++;
  let end = cells;
  while (end > first && end - 0.5 > high) end--;
  return [first, end];
}

function scaleCamera(camera: Camera, width: number, height: number): Camera {
  const [x, y] = [width / camera.width, height / camera.height];
  return { width, height, fx: camera.fx * x, fy: camera.fy * y, cx: camera.cx * x, cy: camera.cy * y };
}

function moveOf(pose: Float32Array): Move {
  const r = (row: number, column: number): number => pose[4 * row + column]!;
  // The transpose turns back.
  const turn = Float64Array.of(r(0, 0), r(1, 0), r(2, 0), r(0, 1), r(1, 1), r(2, 1), r(0, 2), r(1, 2), r(2, 2));
  return { turn, quat: quatOf(turn), shift: [r(0, 3), r(1, 3), r(2, 3)] };
}

/** Unit quaternion of a rotation matrix, by its largest component (Shepperd 1978). */
function quatOf(m: Float64Array): Move["quat"] {
  const [a, b, c, d, e, f, g, h, i] = m as unknown as [...Matrix];
  const squares = [1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i];
  const largest = squares.indexOf(Math.max(...squares));
  const quat = [
    [squares[0]!, h - f, c - g, d - b],
    [h - f, squares[1]!, b + d, c + g],
    [c - g, b + d, squares[2]!, f + h],
    [d - b, c + g, f + h, squares[3]!],
  ][largest] as [number, number, number, number];
  const length = Math.hypot(...quat);
  return [quat[0] / length, quat[1] / length, quat[2] / length, quat[3] / length];
}

type Matrix = [number, number, number, number, number, number, number, number, number];
