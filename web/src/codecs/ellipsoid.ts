// A symmetric 3×3 matrix to its eigenvalues and axes, as principal_axes in deployments/splats/codecs/planes_values.py finds them:
// sums, products, quotients and roots of doubles alone, so that both find the same axes to the bit.

const ENOUGH = 0.004;
const SWEEPS = 5;
/** cos(½·atan t), and sin(½·atan t)/t, by t² in 0..1. */
const [H0, H1, H2, H3] = [0.999999943, -0.124992325, 0.0857652082, -0.0658705601] as const;
const [H4, H5, H6, H7] = [0.049439004, -0.0307497602, 0.0127900373, -0.0025020557] as const;
const [K0, K1, K2, K3] = [0.499999927, -0.187490238, 0.120874777, -0.0893887828] as const;
const [K4, K5, K6, K7] = [0.0655181351, -0.0401830322, 0.016581802, -0.00322920896] as const;

const NOT_ZERO = 1e-100;

/** Places of a matrix: its entries, then w, x, y, z of the turns so far. */
const [XX, YY, ZZ, XY, XZ, YZ, W, X, Y, Z] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
/** Numbers of a matrix and its rotation. */
export const MATRIX = 10;

/**
 * By Jacobi's rotations.
 *
 * @param m xx, yy, zz, xy, xz, yz; then, filled, the rotation (w, x, y, z) whose columns are the eigenvectors of the eigenvalues that
 * xx, yy, zz have become. An array of {@link MATRIX}: numbers handed to a function would be boxed.
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
  const h = H0 + q * (H1 + q * (H2 + q * (H3 + q * (H4 + q * (H5 + q * (H6 + q * H7))))));
  const half = t * (K0 + q * (K1 + q * (K2 + q * (K3 + q * (K4 + q * (K5 + q * (K6 + q * K7)))))));
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
