// A file of splats that no codec of the stream reads: Spark's own loaders do, in their worker, and what they make becomes a `.sppk`.

import { PackedSplats } from "@sparkjsdev/spark";
import { packedOf } from "../codecs/packed.js";
import { DEFAULT_RANGE, WORDS } from "../codecs/words.js";
import { RecordingError } from "./format.js";
import { placeWords } from "./placing.js";

/** The size at which browsers begin to fail to hold a file and what is made of it. */
const MAX_FILE_BYTES = 2 ** 29;
const HEAD_BYTES = 4096;
const GZIP = 0x1f;

/**
 * The file as packed words, where the camera sees them. Light from the side (spherical harmonics above degree 0) is left out.
 *
 * @throws Error Saying why it can't be read.
 */
export async function packedFile(file: File): Promise<File> {
  if (file.size > MAX_FILE_BYTES) throw new RecordingError(`expected at most ${MAX_FILE_BYTES} bytes, got ${file.size}`);
  const fileBytes = new Uint8Array(await file.arrayBuffer());
  const isSpz = /\.spz$/i.test(file.name);
  if (isSpz && fileBytes[0] !== GZIP) throw new RecordingError("expected an SPZ of version 1 to 3, which is gzip");
  const splats = await new PackedSplats({ fileBytes, fileName: file.name }).initialized;
  const { packedArray, numSplats, splatEncoding } = splats;
  if (!packedArray || numSplats === 0) throw new RecordingError("there is no splat in it");
  // A copy: the loader's array has room for more.
  const words = packedArray.slice(0, numSplats * WORDS);
  splats.dispose();
  const head = new TextDecoder("latin1").decode(fileBytes.subarray(0, HEAD_BYTES));
  placeWords(words, numSplats, isSpz || /^comment frame: opengl/m.test(head));
  return new File([packedOf(words, { ...DEFAULT_RANGE, ...splatEncoding })], "splats.sppk");
}
