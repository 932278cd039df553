// How much a photo's lens saw, from its EXIF: a canvas, from which the picture is sent, forgets it. As deployments/stages/exif.py
// reads it; anything that makes no sense is as if it were not there. Pure.

/** EXIF comes before the pixels, in any type of file. */
export const HEAD_BYTES = 1 << 18;

const [EXIF_DIRECTORY, FOCAL_35MM, SHORT, LONG] = [0x8769, 0xa405, 3, 4];
const MOST_ENTRIES = 256;
const FILM_MM = 36;

/**
 * Field of view across the picture's longer side, degrees; 0: unknown.
 *
 * @param head The file's first bytes, as many as {@link HEAD_BYTES}.
 */
export function fovOf(head: Uint8Array): number {
  const focal = focal35mm(head);
  return focal >= 4 && focal <= 2000 ? (2 * Math.atan(FILM_MM / 2 / focal) * 180) / Math.PI : 0;
}

/** Focal length in mm of a lens on 35-mm film that sees as much; 0: unknown. */
function focal35mm(head: Uint8Array): number {
  const start = find(head, "Exif\0\0");
  // A PNG's chunk has no such word.
  const at = start >= 0 ? start + 6 : find(head, "eXIf") + 4;
  if (at < 6) return 0;
  const tiff = new DataView(head.buffer, head.byteOffset + at, head.byteLength - at);
  try {
    const little = tiff.getUint16(0) === 0x4949;
    if (!little && tiff.getUint16(0) !== 0x4d4d) return 0;
    const directory = entry(tiff, tiff.getUint32(4, little), EXIF_DIRECTORY, LONG, little);
    return directory > 0 ? entry(tiff, directory, FOCAL_35MM, SHORT, little) : 0;
  } catch {
    return 0; // It ends early.
  }
}

/** A directory's number with this tag; 0 if there is none of this type. */
function entry(tiff: DataView, directory: number, tag: number, type: number, little: boolean): number {
  const count = Math.min(tiff.getUint16(directory, little), MOST_ENTRIES);
  for (let i = 0, at = directory + 2; i < count; i++, at += 12) {
    if (tiff.getUint16(at, little) !== tag || tiff.getUint16(at + 2, little) !== type) continue;
    return type === SHORT ? tiff.getUint16(at + 8, little) : tiff.getUint32(at + 8, little);
  }
  return 0;
}

function find(bytes: Uint8Array, text: string): number {
  const wanted = [...text].map((letter) => letter.charCodeAt(0));
  for (let at = bytes.indexOf(wanted[0]!); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((value, i) => bytes[at + i] === value)) return at;
  }
  return -1;
}
