// A picture on another grid, as the server's OpenCV makes it: means over areas where it shrinks, cubic where it grows. A browser's
// own scaling is neither, and 5 to 15 dB away from it on fine patterns. Pure.

/** Of OpenCV's cubic kernel. */
const CUBIC_A = -0.75;

/** What the cells of a grid take along one axis: from `first[i]` on, `taps` samples with these weights, whose sum is 1. */
interface Axis {
  readonly first: Int32Array;
  readonly taps: number;
  readonly weights: Float32Array;
}

export class Resampler {
  private rows = new Float32Array(0);
  private sums = new Float32Array(0);
  private key = "";
  private across: Axis = meansOver(1, 1);
  private down: Axis = this.across;

  /**
   * @param rgba 4 bytes a pixel, row by row.
   * @param from Its size, pixels.
   * @param to The grid's.
   * @returns RGBA of the grid, opaque; the picture itself if it has that size.
   */
  resample(rgba: Uint8Array, from: Size, to: Size): Uint8Array {
    if (from.width === to.width && from.height === to.height) return rgba;
    this.prepare(from, to);
    // Rows by functions of their own: they are called often enough to be compiled well, and then are not left again.
    for (let v = 0; v < from.height; v++) {
      narrowRow(this.across, rgba, 4 * from.width * v, to.width, this.rows, 3 * to.width * v);
    }
    // Values below 0 and above 255, which a cubic makes, are clamped; a tie goes to the even one, as on the server.
    const out = new Uint8ClampedArray(4 * to.width * to.height);
    for (let v = 0; v < to.height; v++) shortenRow(this.down, v, this.rows, to.width, this.sums, out);
    return new Uint8Array(out.buffer);
  }

  /** Frame after frame has the same sizes. */
  private prepare(from: Size, to: Size): void {
    const key = `${from.width}×${from.height} → ${to.width}×${to.height}`;
    if (key === this.key) return;
    this.key = key;
    // If one side grows both are cubic: so it is on the server.
    const axis = to.width > from.width || to.height > from.height ? cubic : meansOver;
    this.across = axis(from.width, to.width);
    this.down = axis(from.height, to.height);
    const size = from.height * to.width * 3;
    if (this.rows.length < size) this.rows = new Float32Array(size);
    if (this.sums.length < 3 * to.width) this.sums = new Float32Array(3 * to.width);
  }
}

/** A row of pixels to one of `width` cells, three floats each. */
function narrowRow(across: Axis, rgba: Uint8Array, row: number, width: number, into: Float32Array, out: number): void {
  const { first, taps, weights } = across;
  for (let u = 0, tap = 0; u < width; u++, out += 3) {
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let at = row + 4 * first[u]!, end = at + 4 * taps; at < end; at += 4) {
      const weight = weights[tap++]!;
      red += weight * rgba[at]!;
      green += weight * rgba[at + 1]!;
      blue += weight * rgba[at + 2]!;
    }
    into[out] = red;
    into[out + 1] = green;
    into[out + 2] = blue;
  }
}

/** Narrow rows to the grid's row `v`. */
function shortenRow(
  down: Axis,
  v: number,
  rows: Float32Array,
  width: number,
  sums: Float32Array,
  into: Uint8ClampedArray,
): void {
  const { first, taps, weights } = down;
  const pitch = 3 * width;
  sums.fill(0);
  for (let tap = 0; tap < taps; tap++) {
    const weight = weights[v * taps + tap]!;
    if (weight !== 0) addRow(rows, pitch * (first[v]! + tap), weight, sums, pitch);
  }
  for (let i = 0, to = 4 * width * v; i < pitch; i += 3, to += 4) {
    into[to] = sums[i]!;
    into[to + 1] = sums[i + 1]!;
    into[to + 2] = sums[i + 2]!;
    into[to + 3] = 255;
  }
}

function addRow(rows: Float32Array, from: number, weight: number, sums: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) sums[i] = sums[i]! + weight * rows[from + i]!;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Each cell is the mean of the samples it covers; one that it covers in part counts by its part. */
function meansOver(from: number, to: number): Axis {
  const step = from / to;
  const taps = Math.min(from, Math.ceil(step) + 1);
  return axisOf(from, to, taps, (i, weigh) => {
    const low = i * step;
    const high = Math.min(low + step, from);
    for (let at = Math.floor(low); at < high; at++) weigh(at, Math.min(at + 1, high) - Math.max(at, low));
  });
}

/** Keys' kernel (1981) over four samples; beyond the edges the outermost ones go on. */
function cubic(from: number, to: number): Axis {
  const taps = Math.min(from, 4);
  return axisOf(from, to, taps, (i, weigh) => {
    const middle = ((i + 0.5) * from) / to - 0.5;
    for (let at = Math.floor(middle) - 1; at <= Math.floor(middle) + 2; at++) {
      weigh(Math.min(Math.max(at, 0), from - 1), keys(Math.abs(at - middle)));
    }
  });
}

function keys(x: number): number {
  if (x <= 1) return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1;
  return x < 2 ? ((CUBIC_A * x - 5 * CUBIC_A) * x + 8 * CUBIC_A) * x - 4 * CUBIC_A : 0;
}

function axisOf(
  from: number,
  to: number,
  taps: number,
  visit: (cell: number, weigh: (sample: number, weight: number) => void) => void,
): Axis {
  const first = new Int32Array(to);
  const weights = new Float32Array(to * taps);
  for (let i = 0; i < to; i++) {
    const shares: [sample: number, weight: number][] = [];
    visit(i, (sample, weight) => shares.push([sample, weight]));
    // So that the last of the taps is a sample, too.
    first[i] = Math.min(shares[0]![0], from - taps);
    const sum = shares.reduce((total, [, weight]) => total + weight, 0);
    for (const [sample, weight] of shares) weights[i * taps + sample - first[i]!]! += weight / sum;
  }
  return { first, taps, weights };
}
