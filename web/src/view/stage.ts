// The page's only scene: one SplatMesh over one PackedSplats, whose words are replaced in place for the life of the page. They come from
// memory or, of a depth frame's pixels, from the GPU itself.

import { PackedSplats, SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
import * as THREE from "three";
import { type DepthPixels, PIXEL_WORDS } from "../codecs/depth_pixels.js";
import { LIFTED_RANGE } from "../codecs/lift.js";
import { capacityFor, DEFAULT_RANGE, ROW, type SplatRange, WORDS } from "../codecs/words.js";
import type { PackedWords } from "../stream/thread.js";
import { FlatTops } from "./flat_tops.js";
import { GpuLifter } from "./gpu_lift.js";
import { checkFrame, differenceBetween, wordsOf } from "./lift_check.js";
import type { PictureRect } from "./projection.js";

/** How often the GPU is asked whether it is done; browsers only answer between tasks. */
const FENCE_POLL_MS = 4;

/** What draws, in the browser's words. */
export function rendererName(gl: WebGL2RenderingContext): string {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

export interface StageEvents {
  /** Spark has something new to draw: a sort is done. */
  dirty(): void;
  /** A sort in the background failed. */
  sortFailed(error: unknown): void;
}

export class Stage {
  readonly renderer: THREE.WebGLRenderer;
  readonly scene = new THREE.Scene();
  readonly camera = new THREE.PerspectiveCamera();
  readonly spark: SparkRenderer;
  /** Things in the capture camera's OpenCV frame: x right, y down, z forward. */
  readonly captureFrame = new THREE.Group();
  private readonly splats: PackedSplats;
  private readonly mesh: SplatMesh;
  private readonly lifter: GpuLifter;
  private readonly flatTops = new FlatTops();
  /** Pictures drawn so far. */
  drawn = 0;
  /** The context is gone, and this with it. */
  disposed = false;
  private resized = false;
  private glErrorCount = 0;

  /** @throws Error If the browser has no WebGL2. */
  constructor(
    canvas: HTMLCanvasElement,
    private readonly events: StageEvents,
  ) {
    // Alpha: the page's background shows where there is no splat, and tests see what is covered.
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: false, alpha: true, powerPreference: "high-performance" });
    this.renderer.setClearColor(0x000000, 0);
    this.spark = new SparkRenderer({ renderer: this.renderer, onDirty: () => events.dirty(), enableLod: false });
    this.outliveFailedSorts();
    this.lifter = new GpuLifter(this.renderer);
    const capacity = capacityFor(1);
    this.splats = new PackedSplats({ packedArray: new Uint32Array(capacity * WORDS), numSplats: capacity });
    this.mesh = new SplatMesh({
      packedSplats: this.splats,
      // SplatMesh overwrites the encoding that PackedSplats was given, so it is given here.
      splatEncoding: { ...DEFAULT_RANGE },
      objectModifier: this.flatTops.modifier,
      editable: false,
      raycastable: false,
    });
    this.mesh.frustumCulled = false;
    // OpenCV (y down, z forward) → three.js (y up, z backward): half a turn about x. Never mirrors.
    this.captureFrame.quaternion.set(1, 0, 0, 0);
    this.captureFrame.add(this.mesh);
    this.scene.add(this.spark, this.captureFrame);
    this.scene.updateMatrixWorld(true);
  }

  /** The words that are shown, where the page's memory has them; after {@link dispose} as well. */
  get content(): PackedWords | null {
    const words = this.splats.packedArray as Uint32Array<ArrayBuffer> | null;
    return words && !this.splats.target ? { words, range: this.range } : null;
  }

  /** Gives up the context and Spark's worker. Nothing is drawn afterwards. */
  dispose(): void {
    this.disposed = true;
    this.spark.dispose();
    this.renderer.dispose();
  }

  /** The splats of the next frame stand for pixels of surfaces, and are drawn with flat tops. */
  set ofPixels(on: boolean) {
    this.flatTops.on.value = on;
  }

  get ofPixels(): boolean {
    return this.flatTops.on.value;
  }

  /** Resolves when Spark's shaders and worker are ready. */
  get ready(): Promise<unknown> {
    return this.mesh.initialized;
  }

  /** Frames wait for their own sort (exact order) instead of being drawn in the last frame's. */
  set exactOrder(exact: boolean) {
    this.spark.autoUpdate = !exact;
  }

  get exactOrder(): boolean {
    return !this.spark.autoUpdate;
  }

  /**
   * Puts a frame in place of the last one. No copy: `words` is the stage's until the next call.
   *
   * @returns The words that were shown before, free to be used again.
   */
  replace(words: Uint32Array<ArrayBuffer>, range: SplatRange): Uint32Array<ArrayBuffer> {
    const old = this.splats.packedArray as Uint32Array<ArrayBuffer>;
    const capacity = words.length / WORDS;
    this.splats.packedArray = words;
    // Spark reads a target rather than the words, where there is one.
    this.splats.target?.dispose();
    this.splats.target = null;
    if (capacity === this.splats.maxSplats) {
      // Spark 2.2.0 would hand WebGL a Uint8Array here: INVALID_OPERATION, and the picture freezes.
      if (this.splats.source) this.splats.source.image.data = words;
    } else {
      // Spark makes a texture of the new size by itself. The count is the capacity: words of zero are neither sorted nor drawn.
      this.splats.maxSplats = capacity;
      this.splats.numSplats = capacity;
      this.resized = true;
    }
    this.splats.needsUpdate = true;
    this.replaced(capacity, range);
    return old;
  }

  /** Lifts a frame on the GPU, in place of the last one. Its buffer is free to be used again afterwards. */
  lift(frame: DepthPixels): void {
    const capacity = frame.pixels.length / PIXEL_WORDS;
    if (!this.splats.target || capacity !== this.splats.maxSplats) {
      this.resized ||= capacity !== this.splats.maxSplats;
      this.splats.target?.dispose();
      this.splats.target = null;
      this.splats.source?.dispose();
      this.splats.source = null;
      this.splats.ensureGenerate(capacity);
      this.splats.numSplats = capacity;
    }
    this.lifter.lift(frame, this.splats.target!);
    this.replaced(capacity, { ...LIFTED_RANGE, zOffset: frame.zOffset });
  }

  /** Lets Spark know of other splats. */
  private replaced(capacity: number, range: SplatRange): void {
    this.shrinkSpares(capacity);
    const { zOffset, ...bytes } = range;
    const encoding = this.splats.splatEncoding;
    if (!encoding || (Object.keys(bytes) as (keyof typeof bytes)[]).some((key) => encoding[key] !== bytes[key])) {
      this.splats.splatEncoding = bytes;
    }
    // Spark takes in where the mesh is when it takes in the words.
    if (this.mesh.position.z !== zOffset) {
      this.mesh.position.z = zOffset;
      this.mesh.updateMatrixWorld();
    }
    if (this.exactOrder) this.mesh.updateMappingVersion();
    else this.mesh.updateVersion();
  }

  /**
   * Compiles what lifts on the GPU, and compares what it makes of a small frame with what the processor makes of it. What is shown
   * stays.
   *
   * @throws Error Saying what differs.
   */
  async checkLift(): Promise<void> {
    await this.lifter.compile();
    for (const isRound of [false, true]) {
      const frame = checkFrame(isRound);
      const difference = differenceBetween(wordsOf(frame), this.liftedWords(frame));
      if (difference) throw new Error(`expected ${difference}`);
    }
  }

  /** The words that the GPU makes of a frame, each at its pixel's place. Waits for the GPU. */
  liftedWords(frame: DepthPixels): Uint32Array {
    const capacity = frame.pixels.length / PIXEL_WORDS;
    const scratch = new PackedSplats({ maxSplats: capacity });
    scratch.ensureGenerate(capacity);
    this.lifter.lift(frame, scratch.target!);
    const words = this.wordsIn(scratch.target!, capacity);
    scratch.dispose();
    return words;
  }

  /** The splats that are shown; zeros are none. Waits for the GPU where that made them. Not to be kept: the next frame overwrites it. */
  get shown(): { words: Uint32Array; range: SplatRange } {
    const { target, packedArray, maxSplats } = this.splats;
    return { words: target ? this.wordsIn(target, maxSplats) : packedArray!, range: this.range };
  }

  private get range(): SplatRange {
    const { rgbMin, rgbMax, lnScaleMin, lnScaleMax } = { ...DEFAULT_RANGE, ...this.splats.splatEncoding };
    return { rgbMin, rgbMax, lnScaleMin, lnScaleMax, zOffset: this.mesh.position.z };
  }

  private wordsIn(target: THREE.WebGLArrayRenderTarget, capacity: number): Uint32Array {
    const gl = this.renderer.getContext() as WebGL2RenderingContext;
    const words = new Uint32Array(capacity * WORDS);
    this.renderer.setRenderTarget(target, 0);
    // Spark leaves its own bound.
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.readPixels(0, 0, ROW, capacity / ROW, gl.RGBA_INTEGER, gl.UNSIGNED_INT, words);
    this.renderer.setRenderTarget(null);
    return words;
  }

  /** What is drawn where there is no splat; null: nothing, so that the page shows. Films have no transparency. */
  set background(colour: string | null) {
    this.renderer.setClearColor(colour ?? 0x000000, colour === null ? 0 : 1);
    this.events.dirty();
  }

  /**
   * Whether the frame needs {@link sort} before it is drawn: always in exact order, and otherwise when the capacity has changed.
   * Without it Spark would go on showing the last frame until it has sorted the new one.
   */
  get needsSort(): boolean {
    return this.exactOrder || this.resized;
  }

  /** Takes the frame in and sorts it for this camera. Calls must not overlap. */
  async sort(): Promise<void> {
    // While a sort is under way, Spark would put this update off.
    while (this.spark.sorting && !this.disposed) await new Promise(requestAnimationFrame);
    await this.spark.update({ scene: this.scene, camera: this.camera });
    this.resized = false;
  }

  /** In exact order: sorts for this camera in the background, unless a sort is under way already. */
  sortSoon(): void {
    if (this.spark.sorting) return;
    this.spark.update({ scene: this.scene, camera: this.camera }).catch((error: unknown) => this.events.sortFailed(error));
  }

  /** Spark's own buffers only grow. Those that it is not using are given up, and made again in the size of a frame. */
  private shrinkSpares(capacity: number): void {
    for (const spare of this.spark.accumulators) {
      if (spare.target && spare.maxSplats > capacity) {
        spare.dispose();
        this.spark.maxSplats = 0;
      }
    }
  }

  /** Spark 2.2.0 takes a failed sort for one that is still under way, and would never sort again. */
  private outliveFailedSorts(): void {
    const spark = this.spark as unknown as { driveSort(): Promise<void>; sorting: boolean };
    const driveSort = spark.driveSort.bind(this.spark);
    spark.driveSort = async () => {
      try {
        await driveSort();
      } catch (error) {
        spark.sorting = false;
        if (this.needsSort) throw error;
        this.events.sortFailed(error);
      }
    };
  }

  draw(): void {
    this.drawn++;
    this.renderer.render(this.scene, this.camera);
  }

  /**
   * Draws several pictures into parts of the window. Spark takes the splats in and sorts them for the first one's camera.
   *
   * @param parts Where, and what turns the camera to what is seen there.
   */
  drawParts(parts: readonly { readonly room: PictureRect; aim(): void }[]): void {
    const { renderer, spark } = this;
    const { x: width, y: height } = renderer.getSize(new THREE.Vector2());
    const { autoUpdate } = spark;
    renderer.clear();
    renderer.autoClear = false;
    for (const { room, aim } of parts) {
      aim();
      renderer.setViewport(room.left * width, (1 - room.top - room.height) * height, room.width * width, room.height * height);
      this.draw();
      spark.autoUpdate = false;
    }
    spark.autoUpdate = autoUpdate;
    renderer.autoClear = true;
    renderer.setViewport(0, 0, width, height);
  }

  /** Resolves when the GPU has drawn everything so far; a slow one is busy long after draw() has returned. */
  async finished(): Promise<void> {
    const gl = this.renderer.getContext() as WebGL2RenderingContext;
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    if (!fence) return; // The context is lost.
    gl.flush();
    while (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) {
      await new Promise((resolve) => setTimeout(resolve, FENCE_POLL_MS));
    }
    gl.deleteSync(fence);
  }

  /** What draws, in the browser's words. */
  get rendererName(): string {
    return rendererName(this.renderer.getContext() as WebGL2RenderingContext);
  }

  /** Splats that the texture has room for. */
  get capacity(): number {
    return this.splats.maxSplats;
  }

  /** Splats that the last finished sort found active. */
  get activeSplats(): number {
    return this.spark.activeSplats;
  }

  /** GL errors so far. Asking makes the GPU finish its queue: not for every frame. */
  get glErrors(): number {
    const gl = this.renderer.getContext();
    for (let error = gl.getError(); error !== gl.NO_ERROR && error !== gl.CONTEXT_LOST_WEBGL; error = gl.getError()) {
      this.glErrorCount++;
    }
    return this.glErrorCount;
  }
}
