// The view as a video: what the canvas shows, by the browser's own encoder, where it has one.

/** Best first: MP4 plays everywhere, and only some browsers write it. */
const TYPES = ["video/mp4;codecs=avc1.64002a", "video/webm;codecs=vp9", "video/webm"];
const FPS = 30;
const BITS_PER_S = 8_000_000;

/** null: this browser can't. */
export function filmType(): string | null {
  if (typeof MediaRecorder === "undefined" || !("captureStream" in HTMLCanvasElement.prototype)) return null;
  return TYPES.find((type) => MediaRecorder.isTypeSupported(type)) ?? null;
}

export class ViewFilm {
  private readonly recorder: MediaRecorder;
  private readonly parts: Blob[] = [];

  /** Begins. @throws Error If the encoder does not start. */
  constructor(canvas: HTMLCanvasElement, type: string) {
    const stream = canvas.captureStream(FPS);
    this.recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: BITS_PER_S });
    this.recorder.ondataavailable = ({ data }) => this.parts.push(data);
    // A part each second, so that a long film lies in blobs rather than in the encoder.
    this.recorder.start(1000);
  }

  /** The film, and its suffix. */
  stop(): Promise<{ film: Blob; suffix: string }> {
    return new Promise((resolve) => {
      this.recorder.onstop = () => {
        for (const track of this.recorder.stream.getTracks()) track.stop();
        const type = this.recorder.mimeType;
        resolve({ film: new Blob(this.parts, { type }), suffix: type.includes("mp4") ? "mp4" : "webm" });
      };
      this.recorder.stop();
    });
  }
}
