// A symmetric 3×3 matrix to its eigenvalues and axes, as principal_axes in deployments/splats/codecs/planes_values.py finds them:
// sums, products, quotients and roots of doubles alone, so that both find the same axes to the bit.

const ENOUGH = 0.004;
const SWEEPS = 5;
/** cos(½·atan t), and sin(½·atan t)/t, by t² in 0..1. */
const [H0, H1, H2, H3, H4, H5] = [0.99999767, -0.12482061, 0.0836322, -0.05593963, 0.02761829, -0.00661009] as const;
const [K0, K1, K2, K3, K4, K5] = [0.49999696, -0.187266, 0.11809124, -0.07644099, 0.03710374, -0.00880375] as const;
const NOT_ZERO = 1e-100;

/** Places of a matrix: its entries, then w, x, y, z of the turns so far. */
const [XX, YY, ZZ, XY, XZ, YZ, W, X, Y, Z] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
/** Numbers of a matrix and its rotation. */
export const MATRIX = 10;

/**
 * By Jacobi's rotations.
 *
 * @param m xx, yy, zz, xy, xz, yz; then, filled, the rotation (w, x, y, z; of a length near 1) whose columns are the
 * eigenvectors of the eigenvalues that xx, yy, zz have become. An array of {@link MATRIX}: numbers handed to a function would be boxed.
 */
export function diagonalise(m: Float64Array): void {
  m[W] = 1;
  m[X] = m[Y] = m[Z] = 0;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    // Two are mostly enough, and what they don't ask the processor can't guess wrongly.
    if (sweep >= 2 && isSmall(m[XY]!) && isSmall(m[XZ]!) && isSmall(m[YZ]!)) break;
    turn(m, XX, YY, XY, XZ, YZ, Z, X, Y, 1);
    turn(m, XX, ZZ, XZ, XY, YZ, Y, Z, X, -1);
    turn(m, YY, ZZ, YZ, XY, XZ, X, Y, Z, 1);
  }
}

function isSmall(value: number): boolean {
  return value <= ENOUGH && value >= -ENOUGH;
}

/**
 * The turn, up to 45°, that makes the entry `pq` nothing.
 *
 * @param pp @param qq The two on the diagonal.
 * @param pr @param qr The other two beside it.
 * @param axis @param next @param last Of the quaternion, in turn: about which it is, and the other two.
 */
function turn(
  m: Float64Array,
  pp: number,
  qq: number,
  pq: number,
  pr: number,
  qr: number,
  axis: number,
  next: number,
  last: number,
  sign: number,
): void {
  const beside = m[pq]!;
  const apart = m[qq]! - m[pp]!;
  const twice = 2 * beside;
  const size = twice / ((apart < 0 ? -apart : apart) + Math.sqrt(apart * apart + twice * twice) + NOT_ZERO);
  const t = apart >= 0 ? size : -size;
  const q = t * t;
  const square = q * q;
  const h = H0 + q * H1 + square * (H2 + q * H3 + square * (H4 + q * H5));
  const half = t * (K0 + q * K1 + square * (K2 + q * K3 + square * (K4 + q * K5)));
  const c = h * h - half * half;
  const s = 2 * h * half;
  m[pp] = m[pp]! - t * beside;
  m[qq] = m[qq]! + t * beside;
  m[pq] = 0;
  const first = m[pr]!;
  const second = m[qr]!;
  m[pr] = c * first - s * second;
  m[qr] = s * first + c * second;
  const k = sign * half;
  const w = m[W]!;
  const a = m[axis]!;
  const b = m[next]!;
  const d = m[last]!;
  m[W] = w * h + a * k;
  m[axis] = a * h - w * k;
  m[next] = b * h - d * k;
  m[last] = d * h + b * k;
}
