// Symmetric 3×3 matrices to their eigenvalues and axes, as diagonalise in deployments/splats/codecs/planes_values.py finds them:
// sums, products, quotients and roots of doubles alone, so that both find the same axes to the bit.

const ENOUGH = 0.004;
/** Two sweeps are mostly enough. */
const USUAL_SWEEPS = 2;
const MORE_SWEEPS = 3;
/** cos(½·atan t), and sin(½·atan t)/t, by t² in 0..1. */
const [H0, H1, H2, H3, H4, H5] = [0.99999767, -0.12482061, 0.0836322, -0.05593963, 0.02761829, -0.00661009] as const;
const [K0, K1, K2, K3, K4, K5] = [0.49999696, -0.187266, 0.11809124, -0.07644099, 0.03710374, -0.00880375] as const;
const NOT_ZERO = 1e-100;

/**
 * Symmetric matrices, a place in each array: xx, yy, zz, xy, xz, yz; then the rotation, w, x, y, z.
 * Arrays, as numbers that are handed to functions would be boxed.
 */
export type Matrices = readonly [Numbers, Numbers, Numbers, Numbers, Numbers, Numbers, Numbers, Numbers, Numbers, Numbers];
type Numbers = Float64Array;

/** Room for so many. */
export function newMatrices(count: number): Matrices {
  return Array.from({ length: 10 }, () => new Float64Array(count)) as unknown as Matrices;
}

/**
 * By Jacobi's rotations, all matrices a turn at a time: one alone would wait for each number.
 *
 * @param m xx, yy and zz become the eigenvalues; the rotation, whose columns are the eigenvectors, is filled. Its length is near 1.
 * @param count How many.
 */
export function diagonalise(m: Matrices, count: number): void {
  m[6].fill(1, 0, count);
  for (const part of m.slice(7)) part.fill(0, 0, count);
  for (let i = 0; i < USUAL_SWEEPS; i++) sweep(m, 0, count);
  const [, , , xy, xz, yz] = m;
  for (let i = 0; i < count; i++) {
    for (let more = 0; more < MORE_SWEEPS; more++) {
      if (isSmall(xy[i]!) && isSmall(xz[i]!) && isSmall(yz[i]!)) break;
      sweep(m, i, i + 1);
    }
  }
}

function isSmall(value: number): boolean {
  return value <= ENOUGH && value >= -ENOUGH;
}

function sweep(m: Matrices, start: number, stop: number): void {
  const [xx, yy, zz, xy, xz, yz, w, x, y, z] = m;
  turn(xx, yy, xy, xz, yz, w, z, x, y, 1, start, stop);
  turn(xx, zz, xz, xy, yz, w, y, z, x, -1, start, stop);
  turn(yy, zz, yz, xy, xz, w, x, y, z, 1, start, stop);
}

/**
 * Turns matrices by the angle, up to 45°, that makes `pq` nothing.
 *
 * @param pp @param qq The two on the diagonal.
 * @param pq @param pr @param qr The three beside it.
 * @param axis @param next @param last Of the quaternions: about which it is, and the other two in turn.
 * @param sign Of the turn about that axis.
 */
function turn(
  pp: Numbers,
  qq: Numbers,
  pq: Numbers,
  pr: Numbers,
  qr: Numbers,
  w: Numbers,
  axis: Numbers,
  next: Numbers,
  last: Numbers,
  sign: number,
  start: number,
  stop: number,
): void {
  for (let i = start; i < stop; i++) {
    const beside = pq[i]!;
    const apart = qq[i]! - pp[i]!;
    const twice = 2 * beside;
    const size = twice / ((apart < 0 ? -apart : apart) + Math.sqrt(apart * apart + twice * twice) + NOT_ZERO);
    const t = apart >= 0 ? size : -size;
    const q = t * t;
    const square = q * q;
    const h = H0 + q * H1 + square * (H2 + q * H3 + square * (H4 + q * H5));
    const half = t * (K0 + q * K1 + square * (K2 + q * K3 + square * (K4 + q * K5)));
    const c = h * h - half * half;
    const s = 2 * h * half;
    const k = sign * half;
    pp[i] = pp[i]! - t * beside;
    qq[i] = qq[i]! + t * beside;
    pq[i] = 0;
    const first = pr[i]!;
    const second = qr[i]!;
    pr[i] = c * first - s * second;
    qr[i] = s * first + c * second;
    const oldW = w[i]!;
    const oldAxis = axis[i]!;
    const oldNext = next[i]!;
    const oldLast = last[i]!;
    w[i] = oldW * h + oldAxis * k;
    axis[i] = oldAxis * h - oldW * k;
    next[i] = oldNext * h - oldLast * k;
    last[i] = oldLast * h + oldNext * k;
  }
}
