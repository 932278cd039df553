// Pixels of an image file, from its header: what it takes to decode one is known before it is decoded.

const NONE = 0;

/** Pixels of a JPEG, PNG or WebP; 0 where it can't be told, or it is none of these. */
export function pixelsOf(bytes: Uint8Array): number {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return ofJpeg(bytes);
  if (startsWith(bytes, 0, "\x89PNG\r\n\x1a\n") && startsWith(bytes, 12, "IHDR")) return big(bytes, 16, 4) * big(bytes, 20, 4);
  if (startsWith(bytes, 0, "RIFF") && startsWith(bytes, 8, "WEBP")) return ofWebp(bytes);
  return NONE;
}

/** The frame header (SOF0 to SOF15, without the tables between them) has the size; segments before it are skipped. */
function ofJpeg(bytes: Uint8Array): number {
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1]!;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return big(bytes, at + 5, 2) * big(bytes, at + 7, 2);
    // A second 0xff is padding; everything else that comes before the frame has a length.
    at += marker === 0xff ? 1 : 2 + Math.max(2, big(bytes, at + 2, 2));
  }
  return NONE;
}

/** RFC 9649: the canvas of an extended file, or the frame of a simple one, lossless or lossy. */
function ofWebp(bytes: Uint8Array): number {
  if (startsWith(bytes, 12, "VP8X")) return (1 + little(bytes, 24, 3)) * (1 + little(bytes, 27, 3));
  if (startsWith(bytes, 12, "VP8L")) {
    const bits = little(bytes, 21, 4);
    return (1 + (bits & 0x3fff)) * (1 + ((bits >>> 14) & 0x3fff));
  }
  if (startsWith(bytes, 12, "VP8 ")) return (little(bytes, 26, 2) & 0x3fff) * (little(bytes, 28, 2) & 0x3fff);
  return NONE;
}

function startsWith(bytes: Uint8Array, at: number, text: string): boolean {
  return [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
}

function big(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

function little(bytes: Uint8Array, at: number, size: number): number {
  return big(bytes.slice(at, at + size).reverse(), 0, size);
}
