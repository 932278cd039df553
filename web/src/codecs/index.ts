// The codecs the viewer decodes.

import { type Codec, DecodeError } from "./codec.js";
import { DEPTH_NAME } from "./depth.js";
import { packed } from "./packed.js";
import { PLANES_NAME } from "./planes.js";
import { ply } from "./ply.js";
import { points } from "./points.js";

export const CODECS: readonly Codec[] = [packed, points, ply];

/** Best first: the order of `hello.codecs`. `depth` holds no splats; it is lifted to them. `planes` takes the browser's JPEG decoder. */
export const DECODED: readonly string[] = [DEPTH_NAME, PLANES_NAME, ...CODECS.map((codec) => codec.name)];

/** The codec of a reply. */
export function codecNamed(name: string): Codec {
  const codec = CODECS.find((each) => each.name === name);
  if (!codec) throw new DecodeError("splats", `a codec of ${CODECS.map((each) => each.name).join(", ")}`, JSON.stringify(name));
  return codec;
}
