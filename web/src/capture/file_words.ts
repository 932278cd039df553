// Why a file can't be shown, in words: what it is, and what to do with it.

import { SourceError } from "./source.js";

/** Brands of ISO media files (ISO/IEC 14496-12, `ftyp`) that hold HEVC pictures: iPhones' photos. */
const HEIC_BRANDS = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"];

/**
 * The problem of a file that the browser reads neither as a picture nor as a video.
 *
 * @param server What the server says of it, if it was asked.
 */
export async function unreadable(file: File, server = ""): Promise<SourceError> {
  const said = explain(file.name, file.type, file.size, await headOf(file));
  const text = server ? `${said} The server can't read it either: ${server}` : said;
  return new SourceError("file_unreadable", "This file can't be shown", text);
}

/** Whether it begins as a photo that some browsers can't read, but a server may: HEIC, AVIF, TIFF. */
export async function isPhoto(file: File): Promise<boolean> {
  const text = String.fromCharCode(...(await headOf(file)));
  const brand = text.slice(8, 12);
  return (
    (text.slice(4, 8) === "ftyp" && (HEIC_BRANDS.includes(brand) || brand.startsWith("avi"))) || /^(II\*\0|MM\0\*)/.test(text)
  );
}

async function headOf(file: File): Promise<Uint8Array> {
  const bytes = await file
    .slice(0, 12)
    .arrayBuffer()
    .catch(() => new ArrayBuffer(0));
  return new Uint8Array(bytes);
}

/**
 * @param type Its MIME type, as the system has it; empty where it has none.
 * @param head Its first 12 bytes, or as many as it has.
 */
export function explain(name: string, type: string, size: number, head: Uint8Array): string {
  if (size === 0) return `${name} is empty. If it is still being copied or downloaded, try again when that is done.`;
  const text = String.fromCharCode(...head);
  const heic = text.slice(4, 8) === "ftyp" && HEIC_BRANDS.includes(text.slice(8, 12));
  if (heic || /^image\/hei[cf]/.test(type) || /\.hei[cf]$/i.test(name))
    return `${name} is a HEIC photo, which this browser can't read. Save it as JPEG (on an iPhone: Settings, Camera, Formats, “Most Compatible”), or open this page in Safari.`;
  if (type.startsWith("audio/")) return `${name} is a sound. Choose a picture or a video.`;
  if (type.startsWith("video/"))
    return `${name} has no picture that this browser can play: it is only sound, damaged, or in a format such as H.265. MP4 (H.264) and WebM work nearly everywhere.`;
  return `${name} is not a picture or video that this browser can read. JPEG, PNG, WebP, MP4 (H.264) and WebM work nearly everywhere.`;
}
