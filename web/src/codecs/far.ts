// Where all of a scene is far: what to take off every z, so that half floats are fine where the splats are. The server's rule, and why:
// far_offset in deployments/splats/codecs/packed.py.

const FAR = 8;
export const MAX_OFFSET = 2 ** 20;
const SAMPLES = 1024;
const BEYOND = 0.02;
const DEEPEST = 0.5;

/** Whether a header may say so. */
export function isOffset(value: number): boolean {
  return value === 0 || (value >= FAR && value <= MAX_OFFSET);
}

/**
 * @param count Splats, or places where one may be.
 * @param depthAt The z of one; not above 0, or NaN: there is none.
 * @param everyIsOne Whether each of `count` is a splat: a z that is not above 0 then lies behind the camera.
 */
export function farOffset(count: number, depthAt: (index: number) => number, everyIsOne: boolean): number {
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const depths: number[] = [];
  for (let i = 0; i < count; i += step) {
    const depth = depthAt(i);
    if (depth > 0) depths.push(depth);
    else if (everyIsOne) return 0;
    // An offset is at most twice the nearest depth.
    if (depth > 0 && depth <= FAR / 2) return 0;
  }
  if (depths.length === 0) return 0;
  depths.sort((a, b) => a - b);
  const far = depths[depths.length - 1 - Math.floor(BEYOND * depths.length)]!;
  // The samples alone say that most scenes are near.
  if (offsetOf(depths[0]!, far) === 0) return 0;
  let near = far;
  for (let i = 0; i < count; i++) {
    const depth = depthAt(i);
    if (depth > 0) near = Math.min(near, depth);
    else if (everyIsOne) return 0;
  }
  return offsetOf(near, far);
}

function offsetOf(near: number, far: number): number {
  if (!(far - near <= DEEPEST * (near + far))) return 0;
  const offset = (2 * near * far) / (near + far);
  if (!(offset >= FAR && offset <= MAX_OFFSET)) return 0;
  const step = 2 ** (Math.floor(Math.log2(offset)) - 3);
  return Math.floor(offset / step + 0.5) * step;
}
