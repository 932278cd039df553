// A recording to read from: where its frames are, and each as the message it was. Only this index is kept in memory.

import { Decoder } from "@msgpack/msgpack";
import type { Camera, Engine, QualityState, SplatsMessage } from "../stream/messages.js";
import {
  checkHeader,
  ENTRY_BYTES,
  HEADER_BYTES,
  isIntact,
  MAX_BYTES,
  MAX_ENTRIES,
  RecordingError,
  readEntry,
} from "./format.js";
import { hasTooManyValues } from "./message_size.js";

/** Read at once while the entries are looked up: several frames of depth. */
const WINDOW_BYTES = 1 << 18;
/** The first key and value of a message of splats, as msgpack. */
const SPLATS = Uint8Array.from("\xa4type\xa6splats", (letter) => letter.charCodeAt(0));
/** So that a length that is written takes no memory before what it counts is there. */
const DECODER = new Decoder({ maxArrayLength: 1024, maxMapLength: 64, maxStrLength: 65536, maxBinLength: MAX_BYTES });

/** A frame as it was recorded. */
export interface RecordedFrame {
  readonly message: SplatsMessage;
  /** The picture that was sent, if the message takes its colours from it. */
  readonly picture: Uint8Array<ArrayBuffer> | null;
}

export class RecordingFile {
  private constructor(
    private readonly file: Blob,
    private readonly offsets: number[],
    /** When each frame is due, ms from the first. */
    readonly times: number[],
    /** Why it ends before the file does, for people; empty: it does not. */
    readonly cut: string,
    /** What made it, if the file says so. */
    readonly engine: Engine | null,
  ) {}

  /** @throws RecordingError If it is none, or has no frame. */
  static async open(file: Blob): Promise<RecordingFile> {
    let start = 0;
    let window = await bytesOf(file, 0, WINDOW_BYTES);
    checkHeader(window);
    const offsets: number[] = [];
    const times: number[] = [];
    let cut = "";
    let lastMs = 0;
    let at = HEADER_BYTES;
    let engine: Engine | null = null;
    while (at < file.size) {
      if (at + ENTRY_BYTES > file.size) {
        cut = "it ends within a frame";
        break;
      }
      if (at + ENTRY_BYTES + SPLATS.length + 3 > start + window.length && start < at) {
        start = at;
        window = await bytesOf(file, at, WINDOW_BYTES);
      }
      const head = readEntry(window, at - start, lastMs);
      const end = head ? at + ENTRY_BYTES + head.message + head.picture : 0;
      if (!head || end > file.size || offsets.length === MAX_ENTRIES) {
        cut = !head ? "what follows is no frame" : end > file.size ? "it ends within a frame" : "it has too many frames";
        break;
      }
      if (at === HEADER_BYTES) engine = engineIn(await bytesOf(file, at + ENTRY_BYTES, head.message));
      if (isSplats(window, at - start + ENTRY_BYTES)) {
        offsets.push(at);
        times.push(head.ms);
      }
      lastMs = head.ms;
      at = end;
    }
    const [first] = times;
    if (first === undefined) throw new RecordingError(`there is no whole frame in it${cut && `: ${cut}`}`);
    const fromFirst = times.map((ms) => ms - first);
    return new RecordingFile(file, offsets, fromFirst, cut, engine);
  }

  /** @throws Error If it is damaged, or no frame of splats. */
  async frame(index: number): Promise<RecordedFrame> {
    const at = this.offsets[index]!;
    const head = readEntry(await bytesOf(this.file, at, ENTRY_BYTES), 0, 0);
    if (!head) throw new RecordingError("the file changed while it was open");
    const bytes = await bytesOf(this.file, at, ENTRY_BYTES + head.message + head.picture);
    if (!isIntact(bytes, head)) throw new RecordingError(`frame ${index + 1} is damaged`);
    const picture = bytes.subarray(ENTRY_BYTES + head.message);
    return {
      message: asSplats(decoded(bytes.subarray(ENTRY_BYTES, ENTRY_BYTES + head.message))),
      picture: picture.length > 0 ? picture : null,
    };
  }
}

/** Whether a message is one of splats: `type` is the first key of every message. */
function isSplats(bytes: Uint8Array, at: number): boolean {
  // After the map's head, which is longer for more than 15 keys.
  const from = bytes[at] === 0xde ? at + 3 : at + 1;
  return SPLATS.every((byte, i) => bytes[from + i] === byte);
}

async function bytesOf(file: Blob, at: number, size: number): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await file.slice(at, at + size).arrayBuffer());
}

/** @throws Error If it is no message. */
function decoded(message: Uint8Array): unknown {
  if (hasTooManyValues(message)) throw new RecordingError("a message has more values than any of the protocol");
  return DECODER.decode(message);
}

/** Of the `welcome` that a recording begins with; null where there is none that can be read. */
function engineIn(message: Uint8Array): Engine | null {
  try {
    const { type, engine } = decoded(message) as { type?: unknown; engine?: Record<string, unknown> };
    if (type !== "welcome" || !engine) return null;
    const text = (key: string): string => (typeof engine[key] === "string" ? engine[key] : "");
    const [name, label, licence, licenceNote] = [text("name"), text("label"), text("licence"), text("licence_note")];
    const [metric, joins] = [engine["metric"] === true, engine["joins_views"] === true];
    const around = typeof engine["around_deg"] === "number" ? engine["around_deg"] : 0;
    const [kinds, others]: [string[], string[]] = [[], []];
    const said = {
      label,
      licence,
      licence_note: licenceNote,
      kinds,
      metric,
      other_labels: others,
      joins_views: joins,
      around_deg: around,
    };
    return { engine: text("engine"), name, ...said };
  } catch {
    return null;
  }
}

const FULL_QUALITY: QualityState = { max_splats: 0, inference_px: 0, splats_share: 1, px_share: 1, cause: "", message: "" };

/**
 * What is needed to show a message, each of its type: a file may hold anything.
 *
 * @throws RecordingError Naming what is not.
 */
export function asSplats(value: unknown): SplatsMessage {
  const map = (name: string, of: unknown): Record<string, unknown> => {
    if (typeof of !== "object" || of === null || ArrayBuffer.isView(of)) throw new RecordingError(`expected a map as ${name}`);
    return of as Record<string, unknown>;
  };
  const message = map("a message", value);
  if (message["type"] !== "splats") throw new RecordingError(`expected splats, got ${JSON.stringify(message["type"])}`);
  const take = <T>(name: string, of: unknown, is: (value: unknown) => boolean): T => {
    if (!is(of)) throw new RecordingError(`'${name}' is not what the protocol says`);
    return of as T;
  };
  const isText = (of: unknown): boolean => typeof of === "string";
  const isCount = (of: unknown): boolean => Number.isSafeInteger(of) && (of as number) >= 0;
  const isNumber = (of: unknown): boolean => typeof of === "number" && Number.isFinite(of);
  const camera = map("camera", message["camera"]);
  for (const key of ["width", "height", "fx", "fy", "cx", "cy"]) take(`camera.${key}`, camera[key], isNumber);
  const timings: Record<string, number> = {};
  for (const [name, ms] of Object.entries(map("timings_ms", message["timings_ms"] ?? {})))
    if (isNumber(ms)) timings[name] = ms as number;
  return {
    type: "splats",
    seq: take("seq", message["seq"], isCount),
    captured_ms: take("captured_ms", message["captured_ms"], isNumber),
    codec: take("codec", message["codec"], isText),
    kind: take("kind", message["kind"], isText),
    label: take("label", message["label"], isText),
    count: take("count", message["count"], isCount),
    camera: camera as unknown as Camera,
    pruned: {},
    timings_ms: timings,
    dropped: {},
    source: "",
    // Of a recording nothing was left out for this viewer's sake.
    quality: FULL_QUALITY,
    intrinsics: isText(message["intrinsics"]) ? (message["intrinsics"] as string) : "guessed",
    data: take("data", message["data"], (of) => of instanceof Uint8Array),
  };
}
