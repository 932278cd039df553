// The `depth` codec: layered depth, lifted by lift.ts or on the GPU. The layout is the head of deployments/splats/codecs/depth.py:
//
//   header 28   SPLD · u8 version 1, kind, views, layers · u32 CRC-32 of what follows · f32 scale, border, minOpacity, farthest
//   view 76     u16 width, height · f32 fx, fy, cx, cy · f32 pose [3, 4] · u8 layers, picture, orientation, 0 · u32 JPEG bytes
//   layer 24    u16 width, height · f32 unit · u32 depth bytes · u8 opacity levels, colours · u16 0 · u32 opacity, colour bytes
//   then for each view its JPEG, and for each of its layers the depth plane, the opacity plane and the colours

import type { Camera } from "../stream/messages.js";
import { DecodeError, viewOf } from "./codec.js";
import { DEPTH, levels, PlaneDecoder } from "./depth_map.js";

export const DEPTH_NAME = "depth";
const NAME = DEPTH_NAME;
const HEADER_BYTES = 28;
const VIEW_BYTES = 76;
const LAYER_BYTES = 24;
const CRC_FROM = 12;
const MAX_VIEWS = 8;
const MAX_LAYERS = 8;
/** Of a layer. */
const MAX_PIXELS = 1 << 20;
const TINY = 2 ** -126;
const HUGE = 1e12;

/** The camera's JPEG, and how its EXIF data said it is turned, 1..8. */
export interface Jpeg {
  readonly data: Uint8Array;
  readonly orientation: number;
}

export interface DepthLayer {
  readonly width: number;
  readonly height: number;
  /** 1/z in the view's camera frame, 0 where there is no surface. The decoder's own: valid until it decodes the next frame. */
  readonly inverseDepth: Float32Array;
  /** 0..255; null: opaque. The decoder's own, too. */
  readonly opacity: Uint8Array | null;
  /** Colours of its own: RGB, 3 bytes a pixel, or a JPEG of its size; null: the view's picture. */
  readonly colors: Uint8Array | Jpeg | null;
}

export interface DepthView {
  /** Intrinsics, in pixels of the front layer. */
  readonly camera: Camera;
  /** First camera to this one, row by row, [3, 4]; null for the first view. */
  readonly pose: Float32Array | null;
  /** null: the viewer's own picture of this sequence number. */
  readonly picture: Jpeg | null;
  /** Front first. */
  readonly layers: readonly DepthLayer[];
}

export interface DepthFrame {
  readonly kind: "lifted" | "points";
  /** What the model's own depth was multiplied by. */
  readonly scale: number;
  /** What is to be pruned: fraction of a layer on each side, least opacity, smallest 1/z in the first camera's frame (0: none). */
  readonly border: number;
  readonly minOpacity: number;
  readonly farthest: number;
  readonly views: readonly DepthView[];
  /** Of all layers: the most splats there can be. */
  readonly pixels: number;
}

interface ViewHead {
  readonly camera: Camera;
  readonly pose: Float32Array;
  readonly layers: number;
  readonly hasJpeg: boolean;
  readonly orientation: number;
  readonly jpegBytes: number;
}

interface LayerHead {
  readonly width: number;
  readonly height: number;
  readonly unit: number;
  readonly levels: number;
  readonly coloured: number;
  readonly depthBytes: number;
  readonly opacityBytes: number;
  readonly colorBytes: number;
}

/** A frame whose parts are found, and whose checksum is right; none of its planes is decoded yet. */
export interface CodedFrame {
  readonly views: readonly CodedView[];
  /** Of all layers: the most splats there can be. */
  readonly pixels: number;
  /** The whole of it. */
  readonly data: Uint8Array;
}

export interface CodedView extends Omit<DepthView, "layers"> {
  readonly layers: readonly CodedLayer[];
}

export interface CodedLayer extends Omit<DepthLayer, "inverseDepth" | "opacity"> {
  readonly unit: number;
  /** Of its opacity; 0: it is opaque. */
  readonly levels: number;
  readonly depthPlane: Uint8Array;
  readonly opacityPlane: Uint8Array;
}

/** Finds a frame's parts. Throws {@link DecodeError}, saying what was expected and what came. */
export function readFrame(data: Uint8Array): CodedFrame {
  const { views: viewHeads, layers: layerHeads } = readHeads(data);
  let at = HEADER_BYTES + VIEW_BYTES * viewHeads.length + LAYER_BYTES * layerHeads.length;
  let size = at;
  for (const head of viewHeads) size += head.jpegBytes;
  for (const head of layerHeads) size += head.depthBytes + head.opacityBytes + head.colorBytes;
  if (data.length !== size) throw new DecodeError(NAME, `${size} bytes`, `${data.length}`);
  const [crc, stated] = [crc32(data, CRC_FROM), viewOf(data).getUint32(8, true)];
  if (crc !== stated) throw new DecodeError(NAME, `the checksum ${crc.toString(16)}`, stated.toString(16));
  const take = (bytes: number): Uint8Array => {
    at += bytes;
    return data.subarray(at - bytes, at);
  };
  let index = 0;
  const views = viewHeads.map((head, i): CodedView => {
    const picture = head.hasJpeg ? { data: take(head.jpegBytes), orientation: head.orientation } : null;
    const layers: CodedLayer[] = [];
    for (const end = index + head.layers; index < end; index++) {
      const { width, height, unit, levels, coloured, depthBytes, opacityBytes, colorBytes } = layerHeads[index]!;
      const [depthPlane, opacityPlane, bytes] = [take(depthBytes), take(opacityBytes), take(colorBytes)];
      const colors = coloured === 0 ? null : coloured === 1 ? bytes : { data: bytes, orientation: 1 };
      layers.push({ width, height, colors, unit, levels, depthPlane, opacityPlane });
    }
    return { camera: head.camera, pose: i > 0 ? head.pose : null, picture, layers };
  });
  return { views, pixels: layerHeads.reduce((sum, layer) => sum + layer.width * layer.height, 0), data };
}

/** Decodes frames, one after the other, into buffers that it keeps. */
export class DepthDecoder {
  private readonly planes = new PlaneDecoder();
  private units = new Int32Array(0);
  private readonly inverse: Float32Array[] = [];
  private readonly opacity: Uint8Array[] = [];

  /** @throws DecodeError Saying what was expected and what came. */
  decode(data: Uint8Array): DepthFrame {
    return this.decodePlanes(readFrame(data));
  }

  /** The rest of it, for who has read the frame to see its pictures first. */
  decodePlanes({ views: coded, pixels, data }: CodedFrame): DepthFrame {
    let index = 0;
    const views = coded.map((view) => ({ ...view, layers: view.layers.map((layer) => this.decodeLayer(layer, index++)) }));
    const [scale, border, minOpacity, farthest] = readSettings(viewOf(data));
    return { kind: data[5] === 1 ? "points" : "lifted", scale, border, minOpacity, farthest, views, pixels };
  }

  private decodeLayer({ width, height, colors, ...coded }: CodedLayer, index: number): DepthLayer {
    const count = width * height;
    if (this.units.length < count) this.units = new Int32Array(count);
    const units = this.units;
    this.planes.decode(NAME, coded.depthPlane, width, height, DEPTH, units);
    const inverseDepth = sized(this.inverse, index, count, Float32Array);
    for (let i = 0; i < count; i++) inverseDepth[i] = units[i]! * coded.unit;
    const opacity = coded.levels > 0 ? sized(this.opacity, index, count, Uint8Array) : null;
    if (opacity) {
      this.planes.decode(NAME, coded.opacityPlane, width, height, levels(coded.levels), units);
      for (let i = 0; i < count; i++) opacity[i] = Math.floor((510 * units[i]! + coded.levels) / (2 * coded.levels));
    }
    return { width, height, inverseDepth, opacity, colors };
  }
}

/** The kept array number `index`, at exactly this length. */
function sized<T extends Float32Array | Uint8Array>(kept: T[], index: number, length: number, kind: new (n: number) => T): T {
  let array = kept[index];
  if (array?.length !== length) {
    array = new kind(length);
    kept[index] = array;
  }
  return array;
}

function readHeads(data: Uint8Array): { views: ViewHead[]; layers: LayerHead[] } {
  if (data.length < HEADER_BYTES) throw new DecodeError(NAME, `a header of ${HEADER_BYTES} bytes`, `${data.length} bytes`);
  const magic = String.fromCharCode(...data.subarray(0, 4));
  if (magic !== "SPLD") throw new DecodeError(NAME, "the magic SPLD", JSON.stringify(magic));
  if (data[4] !== 1) throw new DecodeError(NAME, "version 1", `${data[4]}`);
  check("kind", data[5]!, 0, 1);
  const viewCount = check("number of views", data[6]!, 1, MAX_VIEWS);
  const layerCount = check("number of layers", data[7]!, viewCount, MAX_LAYERS);
  const view = viewOf(data);
  const [scale, border, minOpacity, farthest] = readSettings(view);
  check("scale", scale, TINY, HUGE);
  check("border", border, 0, Math.fround(0.45));
  check("min_opacity", minOpacity, 0, 1);
  check("farthest", farthest, 0, HUGE);
  const size = HEADER_BYTES + VIEW_BYTES * viewCount + LAYER_BYTES * layerCount;
  if (data.length < size) throw new DecodeError(NAME, `headers of ${size} bytes`, `${data.length} bytes`);
  const views: ViewHead[] = [];
  for (let i = 0; i < viewCount; i++) views.push(readView(view, HEADER_BYTES + VIEW_BYTES * i, i === 0));
  const announced = views.reduce((sum, head) => sum + head.layers, 0);
  if (announced !== layerCount) throw new DecodeError(NAME, `the views' ${announced} layers`, `${layerCount}`);
  const layers: LayerHead[] = [];
  for (const { camera, layers: count } of views) {
    for (let i = 0; i < count; i++) {
      const head = readLayer(view, HEADER_BYTES + VIEW_BYTES * viewCount + LAYER_BYTES * layers.length);
      if (i === 0 && (head.width !== camera.width || head.height !== camera.height)) {
        throw new DecodeError(NAME, `a front layer of ${camera.width}×${camera.height}`, `${head.width}×${head.height}`);
      }
      layers.push(head);
    }
  }
  return { views, layers };
}

function readSettings(view: DataView): [scale: number, border: number, minOpacity: number, farthest: number] {
  return [view.getFloat32(12, true), view.getFloat32(16, true), view.getFloat32(20, true), view.getFloat32(24, true)];
}

function readView(view: DataView, at: number, isFirst: boolean): ViewHead {
  const [width, height] = readSize(view, at);
  const [fx, fy, cx, cy] = [4, 8, 12, 16].map((offset) => view.getFloat32(at + offset, true)) as [
    number,
    number,
    number,
    number,
  ];
  check("fx", fx, TINY, HUGE);
  check("fy", fy, TINY, HUGE);
  check("cx", cx, -HUGE, HUGE);
  check("cy", cy, -HUGE, HUGE);
  const pose = Float32Array.from({ length: 12 }, (_, i) => view.getFloat32(at + 20 + 4 * i, true));
  if (!isPose(pose, isFirst)) {
    throw new DecodeError(NAME, "a rotation and a translation, none for the first view", pose.join(" "));
  }
  const layers = check("number of layers", view.getUint8(at + 68), 1, MAX_LAYERS);
  const hasJpeg = check("picture", view.getUint8(at + 69), 0, 1) === 1;
  const orientation = check("orientation", view.getUint8(at + 70), 1, 8);
  check("spare byte", view.getUint8(at + 71), 0, 0);
  const jpegBytes = view.getUint32(at + 72, true);
  if (jpegBytes > 0 !== hasJpeg) throw new DecodeError(NAME, "the bytes of a JPEG if there is one, else 0", `${jpegBytes}`);
  return { camera: { width, height, fx, fy, cx, cy }, pose, layers, hasJpeg, orientation, jpegBytes };
}

/** Whether twelve numbers are a rotation and a translation; none for the first view. */
export function isPose(pose: Float32Array, isFirst: boolean): boolean {
  if (isFirst) return pose.every((value, i) => value === (i % 5 === 0 ? 1 : 0));
  if (!pose.every((value) => Math.abs(value) <= HUGE)) return false;
  const row = (i: number): [number, number, number] => [pose[4 * i]!, pose[4 * i + 1]!, pose[4 * i + 2]!];
  const dot = (a: number[], b: number[]): number => a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]!;
  const rows = [row(0), row(1), row(2)] as const;
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) if (!(Math.abs(dot(rows[i]!, rows[j]!) - (i === j ? 1 : 0)) < 1e-3)) return false;
  }
  const [[a, b, c], [d, e, f]] = rows;
  return dot([b * f - c * e, c * d - a * f, a * e - b * d], rows[2]) > 0;
}

function readLayer(view: DataView, at: number): LayerHead {
  const [width, height] = readSize(view, at);
  const unit = check("unit", view.getFloat32(at + 4, true), TINY, HUGE);
  const depthBytes = view.getUint32(at + 8, true);
  const opacityLevels = view.getUint8(at + 12);
  const coloured = check("colours", view.getUint8(at + 13), 0, 2);
  check("spare number", view.getUint16(at + 14, true), 0, 0);
  const opacityBytes = view.getUint32(at + 16, true);
  const colorBytes = view.getUint32(at + 20, true);
  if (opacityBytes > 0 !== opacityLevels > 0) {
    throw new DecodeError(NAME, "the bytes of an opacity plane if there is one, else 0", `${opacityBytes}`);
  }
  const expected = coloured === 0 ? 0 : coloured === 1 ? 3 * width * height : colorBytes || -1;
  if (colorBytes !== expected) throw new DecodeError(NAME, "the bytes of the layer's colours", `${colorBytes}`);
  return { width, height, unit, levels: opacityLevels, coloured, depthBytes, opacityBytes, colorBytes };
}

function readSize(view: DataView, at: number): [width: number, height: number] {
  const [width, height] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
  if (width * height < 1 || width * height > MAX_PIXELS) {
    throw new DecodeError(NAME, `1 to ${MAX_PIXELS} pixels`, `${width}×${height}`);
  }
  return [width, height];
}

/** The value, if it is in its range; NaN never is. */
function check(name: string, value: number, low: number, high: number): number {
  if (!(low <= value && value <= high)) throw new DecodeError(NAME, `a ${name} of ${low} to ${high}`, `${value}`);
  return value;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

/** CRC-32 as zlib computes it, of the bytes from `from` on; `before` is that of what stands before them. */
export function crc32(data: Uint8Array, from: number, before = 0): number {
  let crc = ~before;
  for (let i = from; i < data.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ data[i]!) & 0xff]!;
  return ~crc >>> 0;
}
