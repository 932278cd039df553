// Binary decisions out of bytes, each with the chance that its context has learnt: the coder of deployments/splats/codecs/depth_map.py,
// to the bit.

/** By how often a context was asked, what share of the way its chance goes. */
const SHIFT = Uint8Array.of(1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5);
/** A context that was never asked: both are alike. */
export const START = 1 << 19;
export const TOP = 1 << 23;
// The coder's state: where the code lies in the range, the range, the place in the bytes. An array, since Chromium's small
// integers end at 2³⁰: as fields, range and code would be boxed.
export const CODE = 0;
export const SPAN = 1;
export const AT = 2;
export const RANGE = 2 ** 31 - 1;

/** Sizes up to it are a ladder of decisions. */
export const LADDER = 14;
const GAMMA_BITS = 23;

/** The next decision in a context. */
export function bit(states: Int32Array, coder: Int32Array, data: Uint8Array, context: number): number {
  const state = states[context]!;
  const span = coder[SPAN]!;
  const code = coder[CODE]!;
  const bound = Math.imul(span >> 12, state >> 8);
  if (code >= bound) {
    states[context] = afterOne(state);
    coder[CODE] = code - bound;
    coder[SPAN] = span - bound;
    if (span - bound < TOP) refill(coder, data);
    return 1;
  }
  states[context] = afterZero(state);
  coder[SPAN] = bound;
  if (bound < TOP) refill(coder, data);
  return 0;
}

/** A context's state is the chance of a zero in 65536ths, and above 4 bits how often it was asked: the oftener, the less it learns. */
export function afterZero(state: number): number {
  const p = state >> 4;
  const count = state & 15;
  return ((p + ((65536 - p) >> SHIFT[count]!)) << 4) | (count < 15 ? count + 1 : 15);
}

export function afterOne(state: number): number {
  const p = state >> 4;
  const count = state & 15;
  return ((p - (p >> SHIFT[count]!)) << 4) | (count < 15 ? count + 1 : 15);
}

/** Beyond the bytes there are zeros; the end of the plane tells. */
export function refill(coder: Int32Array, data: Uint8Array): void {
  let span = coder[SPAN]!;
  let code = coder[CODE]!;
  let at = coder[AT]!;
  do {
    span <<= 8;
    code = (code << 8) | (at < data.length ? data[at]! : 0);
    at++;
  } while (span < TOP);
  coder[SPAN] = span;
  coder[CODE] = code;
  coder[AT] = at;
}

/**
 * A residual that is not zero, in steps. Its ladder of decisions keeps the coder in variables: most of all decisions are in it.
 *
 * @param more @param sign @param gamma First contexts of its size, its sign, and the length of a large size.
 */
export function residual(
  states: Int32Array,
  coder: Int32Array,
  data: Uint8Array,
  more: number,
  sign: number,
  gamma: number,
): number {
  const negative = bit(states, coder, data, sign);
  let span = coder[SPAN]!;
  let code = coder[CODE]!;
  let at = coder[AT]!;
  let size = 1;
  for (let goesOn = true; goesOn && size <= LADDER; ) {
    const context = more + size - 1;
    const state = states[context]!;
    const bound = Math.imul(span >> 12, state >> 8);
    goesOn = code >= bound;
    if (goesOn) {
      states[context] = afterOne(state);
      code -= bound;
      span -= bound;
      size++;
    } else {
      states[context] = afterZero(state);
      span = bound;
    }
    while (span < TOP) {
      span <<= 8;
      code = (code << 8) | (at < data.length ? data[at]! : 0);
      at++;
    }
  }
  coder[SPAN] = span;
  coder[CODE] = code;
  coder[AT] = at;
  if (size > LADDER) size = LADDER + large(states, coder, data, gamma);
  return negative === 1 ? -size : size;
}

/** Elias's gamma code, whose length is decided bit by bit. */
function large(states: Int32Array, coder: Int32Array, data: Uint8Array, gamma: number): number {
  let bits = 0;
  while (bits < GAMMA_BITS && bit(states, coder, data, gamma + bits) === 1) bits++;
  let rest = 1;
  for (; bits > 0; bits--) {
    const half = coder[SPAN]! >> 1;
    coder[SPAN] = half;
    rest <<= 1;
    if (coder[CODE]! >= half) {
      coder[CODE] = coder[CODE]! - half;
      rest |= 1;
    }
    if (half < TOP) refill(coder, data);
  }
  return rest;
}
