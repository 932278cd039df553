// The pictures of frames that no reply has come for: the colours of a `depth` reply are those of the picture it is of.

/** Far more than a server works on at a time. A frame that is dropped may be told of late, or, by an old server, never. */
const KEPT = 16;

export class OwnPictures {
  private readonly bySeq = new Map<number, Uint8Array<ArrayBuffer>>();

  sent(seq: number, picture: Uint8Array<ArrayBuffer>): void {
    this.bySeq.set(seq, picture);
    for (const old of this.bySeq.keys()) {
      if (this.bySeq.size <= KEPT) break;
      this.bySeq.delete(old);
    }
  }

  /** The picture of a frame that is answered now; those of all earlier ones are let go with it, as replies come in order. */
  take(seq: number): Uint8Array<ArrayBuffer> | null {
    const picture = this.bySeq.get(seq) ?? null;
    for (const old of this.bySeq.keys()) if (old <= seq) this.bySeq.delete(old);
    return picture;
  }

  clear(): void {
    this.bySeq.clear();
  }
}
