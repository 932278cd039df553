// The codecs the viewer decodes, best first: the order of `hello.codecs`.

import { type Codec, DecodeError } from "./codec.js";
import { packed } from "./packed.js";
import { ply } from "./ply.js";
import { points } from "./points.js";

export const CODECS: readonly Codec[] = [packed, points, ply];

/** The codec of a reply. */
export function codecNamed(name: string): Codec {
  const codec = CODECS.find((each) => each.name === name);
  if (!codec) throw new DecodeError("splats", `a codec of ${CODECS.map((each) => each.name).join(", ")}`, JSON.stringify(name));
  return codec;
}
