// A symmetric 3×3 matrix to its eigenvalues and axes, as principal_axes in deployments/splats/codecs/planes_values.py finds them:
// sums, products, quotients and roots of doubles alone, so that both find the same axes to the bit.

const ENOUGH = 0.004;
const SWEEPS = 5;

// What the last turn came to: tangent, cosine, sine, and cosine and sine of its half.
let t = 0;
let c = 1;
let s = 0;
let h = 1;
let k = 0;

/**
 * By Jacobi's rotations.
 *
 * @param out Filled: three eigenvalues, then the rotation (w, x, y, z) whose columns are the eigenvectors.
 */
export function principalAxes(xx: number, yy: number, zz: number, xy: number, xz: number, yz: number, out: Float64Array): void {
  let w = 1;
  let x = 0;
  let y = 0;
  let z = 0;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    if (isSmall(xy) && isSmall(xz) && isSmall(yz)) break;
    if (!isSmall(xy)) {
      turn(xx, yy, xy);
      xx -= t * xy;
      yy += t * xy;
      xy = 0;
      const first = c * xz - s * yz;
      yz = s * xz + c * yz;
      xz = first;
      const [ow, ox, oy, oz] = [w, x, y, z];
      w = ow * h + oz * k;
      x = ox * h - oy * k;
      y = oy * h + ox * k;
      z = oz * h - ow * k;
    }
    if (!isSmall(xz)) {
      turn(xx, zz, xz);
      xx -= t * xz;
      zz += t * xz;
      xz = 0;
      const first = c * xy - s * yz;
      yz = s * xy + c * yz;
      xy = first;
      const [ow, ox, oy, oz] = [w, x, y, z];
      w = ow * h - oy * k;
      x = ox * h - oz * k;
      y = oy * h + ow * k;
      z = oz * h + ox * k;
    }
    if (!isSmall(yz)) {
      turn(yy, zz, yz);
      yy -= t * yz;
      zz += t * yz;
      yz = 0;
      const first = c * xy - s * xz;
      xz = s * xy + c * xz;
      xy = first;
      const [ow, ox, oy, oz] = [w, x, y, z];
      w = ow * h + ox * k;
      x = ox * h - ow * k;
      y = oy * h - oz * k;
      z = oz * h + oy * k;
    }
  }
  out[0] = xx;
  out[1] = yy;
  out[2] = zz;
  out[3] = w;
  out[4] = x;
  out[5] = y;
  out[6] = z;
}

function isSmall(value: number): boolean {
  return value <= ENOUGH && value >= -ENOUGH;
}

/** The turn that makes `beside` nothing. */
function turn(first: number, second: number, beside: number): void {
  const ratio = (second - first) / (2 * beside);
  const size = 1 / (Math.abs(ratio) + Math.sqrt(1 + ratio * ratio));
  t = ratio >= 0 ? size : -size;
  c = 1 / Math.sqrt(1 + t * t);
  s = t * c;
  h = Math.sqrt(0.5 + 0.5 * c);
  k = s / (2 * h);
}
