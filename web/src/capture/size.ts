// How large a picture is sent. Pure.

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size of a picture, pixels, made smaller where its longest side is above `side`; never larger. */
export function sizeWithin(width: number, height: number, side: number): Size {
  const scale = Math.min(1, side / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
