// What a JPEG inside a frame says of itself, read before the browser's decoder sees it: deployments/splats/codecs/jpeg_head.py. Only
// plain baseline files pass, in one scan, so that decoding is one pass over as many pixels as the frame's own header states.

import { DecodeError } from "./codec.js";

const SOF0 = 0xc0;
const SOS = 0xda;
/** DQT, DHT, DRI, JFIF. */
const TABLES: readonly number[] = [0xdb, 0xc4, 0xdd, 0xe0];
const MAX_SEGMENTS = 16;

/**
 * Refuses a file that is not a baseline JPEG of this size.
 *
 * @param channels 1, grey, or 3.
 * @throws DecodeError Naming what was expected.
 */
export function checkJpeg(codec: string, data: Uint8Array, width: number, height: number, channels: number): void {
  const u16 = (at: number): number => (data[at]! << 8) | data[at + 1]!;
  const end = data.length - 2;
  if (end < 2 || u16(0) !== 0xffd8 || u16(end) !== 0xffd9)
    throw new DecodeError(codec, "a whole JPEG", `${data.length} bytes of another kind`);
  let at = 2;
  let found = false;
  for (let segment = 0; segment < MAX_SEGMENTS; segment++) {
    const length = at + 4 <= end ? u16(at + 2) : 0;
    if (length < 2 || at + 2 + length > end || data[at] !== 0xff)
      throw new DecodeError(codec, "a segment of the JPEG", `byte ${at}`);
    const marker = data[at + 1]!;
    if (marker === SOF0 && !found) {
      found = true;
      checkFrame(codec, data.subarray(at + 4, at + 2 + length), width, height, channels);
    } else if (marker === SOS && found) {
      if (length < 3 || data[at + 4] !== channels)
        throw new DecodeError(codec, `one scan of ${channels} components`, `${data[at + 4]}`);
      return;
    } else if (!TABLES.includes(marker)) {
      throw new DecodeError(codec, "tables, one baseline frame and its scan", `the marker FF${marker.toString(16)}`);
    }
    at += 2 + length;
  }
  throw new DecodeError(codec, `the scan after at most ${MAX_SEGMENTS} segments`, "another one");
}

function checkFrame(codec: string, body: Uint8Array, width: number, height: number, channels: number): void {
  const [bits, rows, columns, components] = [body[0], (body[1]! << 8) | body[2]!, (body[3]! << 8) | body[4]!, body[5]];
  const isRight = body.length === 6 + 3 * channels && bits === 8 && components === channels;
  if (!isRight || columns !== width || rows !== height) {
    throw new DecodeError(
      codec,
      `${width}×${height} pixels of ${channels} × 8 bits`,
      `${columns}×${rows}, ${components} × ${bits}`,
    );
  }
  for (let at = 7; at < body.length; at += 3) {
    const [across, down] = [body[at]! >> 4, body[at]! & 15];
    if (across < 1 || across > 2 || down < 1 || down > 2) {
      throw new DecodeError(codec, "components sampled once or twice a step", `${across}×${down}`);
    }
  }
}
