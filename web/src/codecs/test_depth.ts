// A small frame of the `depth` codec for the browser check, as the server coded it, and the splats that the server itself lifts from
// it. `python -m tests.browser.depth_frame` writes both anew.
//
// 6×4 pixels: a slope on the left, a wall before it on the right, one pixel without a surface; the last row is half transparent.
// The colours are in the frame.

import { WORDS } from "./words.js";

const FRAME =
  "U1BMRAEAAQFl0NnaAACAPwAAAADNzMw9AAAAAAYABAAAAMBAAADAQAAAQEAAAABAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/AAAAAAAAAAAAAA" +
  "AAAAAAAAAAgD8AAAAAAQABAAAAAAAGAAQA7FE4OR8AAAARAQAADQAAAEgAAAABRpIOTv64hv3vSEVB7Fm/PPsbBypszrcMLD3Tq7JlAF//yA0Z" +
  "A3b7fOV3iBQe6zwew2Qem4wec7QeS9weIxRa6zxaw2Ram4xac7RaS9xaIxSW6zyWw2SWm4yWc7SWS9yWIxTS6zzSw2TSm4zSc7TSS9zSIw==";

const LIFTED =
  "FB7r+lm6nreePw0+uMCVMjwew/qet563nj8KS7m/lStkHpv6FLGet54/BWa5v5UmjB5z+lYtALQAPP+AqqqFALQeS/oANAC0ADz/gKqqhQAUWu" +
  "v6y7mjsPQ+Dje2vJM3PFrD+vS2o7D0PgxCtruTL2Ram/qjsKOw9D4GXre7kyeMWnP6Vi1WrQA8/4CqqoUAtFpL+gA0Vq0APP+AqqqFANxaI/qr" +
  "NlatADz/gKqqhQAUluv6VrlEMGc+Dy6zuJFAPJbD+me2RDBnPg41tLeROGSWm/pEsEQwZz5t4Mi1kVWMlnP6Vi1WLQA8a/iyqYVJtJZL+gA0Vi" +
  "0APP+AqqqFANyWI/qrNlYtADz/gKqqhQAU0ut28LjtNe09ESextY9NPNLDdu217TXtPREnsrSPTGTSm3bnr+017T1i4cKyj1CM0nN2Vi0ANAA8" +
  "T/GxqYVItNJLdgA0ADQAPP+AqqqFANzSI3arNgA0ADz/gKqqhQA=";

export function depthFrame(): Uint8Array<ArrayBuffer> {
  return bytesOf(FRAME);
}

/** Packed words, 4 a splat. */
export function liftedFrame(): Uint32Array {
  return new Uint32Array(bytesOf(LIFTED).buffer);
}

/**
 * Says where words differ from the server's: colours and places must be equal, sizes and rotations may be one step of a byte apart.
 *
 * @returns null where they don't.
 */
export function differenceFrom(expected: Uint32Array, words: Uint32Array): string | null {
  const hex = (word: number): string => `0x${word.toString(16).padStart(8, "0")}`;
  for (const [i, want] of expected.entries()) {
    const got = words[i]!;
    const isExact = i % WORDS < 2;
    // The third word's lower half is the depth.
    const isPlaceOff = i % WORDS === 2 && (want & 0xffff) !== (got & 0xffff);
    const apart = Math.max(...[0, 8, 16, 24].map((shift) => Math.abs(((want >>> shift) & 255) - ((got >>> shift) & 255))));
    if (isPlaceOff || apart > (isExact ? 0 : 1)) return `${hex(want)} as word ${i}; got ${hex(got)}`;
  }
  return null;
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
