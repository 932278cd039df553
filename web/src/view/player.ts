// Draws the newest frame, and only when something changed: a frame, the view, the window, or Spark's sort.

import * as THREE from "three";
import type { DepthPixels } from "../codecs/depth_pixels.js";
import { LIFTED_RANGE, Lifter } from "../codecs/lift.js";
import { capacityFor, WORDS } from "../codecs/words.js";
import { bufferOf, type DecodedFrame, type PackedWords } from "../stream/thread.js";
import { Axes } from "./axes.js";
import { isOfPixels } from "./flat_tops.js";
import { Headset, type HeadsetMode } from "./headset.js";
import { Orbit } from "./orbit.js";
import { Presenter, type PresenterEvents } from "./presenter.js";
import { aspectOf, containRect, frustum, type PictureRect, WEBCAM } from "./projection.js";
import { Stage } from "./stage.js";
import { type Eye, eyesOf, type Stereo } from "./stereo.js";

/** The pivot follows the subject slowly: a jumping centre would shake an orbited view. */
const PIVOT_SMOOTHING = 0.1;
/** Above 2 device pixels per CSS pixel, splats cost more and look the same. */
const MAX_PIXEL_RATIO = 2;
/** A picture takes the GPU longer than this: it has no time to spare. */
const SLOW_MS = 12;
const NEAR = 0.02;
const FAR = 200;

export interface PlayerEvents extends PresenterEvents {
  /** The buffer of a frame that nothing reads any more. */
  freed(buffer: ArrayBuffer): void;
  /** How long a frame has kept the page's thread busy: its upload, and what it takes to have it sorted and drawn. */
  busy(ms: number): void;
  /** The view is in a headset from now on, or in the window again. */
  headset(inside: HeadsetMode | null): void;
}

const WHOLE: PictureRect = { left: 0, top: 0, width: 1, height: 1 };

export class Player {
  readonly orbit = new Orbit();
  readonly axes = new Axes();
  /** The part of the window that a picture of this aspect has to itself, in fractions. */
  room: (aspect: number) => PictureRect = () => WHOLE;
  /** How much more than the camera's own picture is seen: its width relative to it. */
  fieldOfView = 1;
  /** Two pictures side by side. */
  stereo: Stereo = "off";
  readonly headset: Headset;
  private drawsOn: Stage;
  private lostRejects: (error: Error) => void = () => undefined;
  private lost: Promise<never> | null = null;
  private readonly presenter: Presenter;
  /** What the GPU made the splats from that are shown; null: they came as words. */
  private lifted: DepthPixels | null = null;
  private intrinsics = WEBCAM;
  private pivot = 1;
  private hasPivot = false;
  private dirty = true;
  private moved = false;
  private lastTickMs = performance.now();
  private scheduled = false;
  private swaysOn = false;
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly events: PlayerEvents,
  ) {
    this.drawsOn = this.newStage();
    const screen = { draw: (frame: DecodedFrame | null) => this.draw(frame), finished: () => this.stage.finished() };
    this.presenter = new Presenter(screen, events);
    this.axes.update(this.intrinsics, this.pivot);
    this.headset = this.newHeadset();
    new ResizeObserver(() => this.invalidate()).observe(canvas);
    canvas.addEventListener("webglcontextlost", (event) => this.lose(event));
    canvas.addEventListener("webglcontextrestored", () => this.restore());
  }

  /** The scene; another one after the 3D view was lost. */
  get stage(): Stage {
    return this.drawsOn;
  }

  private newStage(): Stage {
    const stage = new Stage(this.canvas, {
      dirty: () => this.invalidate(),
      sortFailed: (error) => this.events.failed(null, error),
    });
    stage.captureFrame.add(this.axes.group);
    // What waits for the GPU must not wait for one that is gone: its frame would never be settled, and hold back all acks.
    this.lost = new Promise((_, reject) => (this.lostRejects = reject));
    this.lost.catch(() => undefined);
    return stage;
  }

  private newHeadset(): Headset {
    const player = this;
    return new Headset({
      get stage() {
        return player.stage;
      },
      get subject() {
        return player.hasPivot ? player.pivot : null;
      },
      draw: () => {
        this.callWaiting();
        if (!this.presenter.busy) void this.presenter.present();
      },
      changed: (inside) => {
        this.events.headset(inside);
        this.invalidate();
      },
    });
  }

  /** Calls back when the next picture is due: also in a headset, where the window has none, but not before a lost view is back. */
  nextPicture(call: () => void): void {
    this.waiting.add(call);
    requestAnimationFrame(() => this.callWaiting());
  }

  private callWaiting(): void {
    if (this.stage.disposed) return;
    const calls = [...this.waiting];
    this.waiting.clear();
    for (const call of calls) call();
  }

  /** Without a default action to prevent, the browser would never give the context back. */
  private lose(event: Event): void {
    event.preventDefault();
    void this.headset.leave();
    this.drawsOn.dispose();
    this.lostRejects(new Error("the 3D view was lost"));
    this.presenter.skip();
  }

  /** Nothing of what Spark and three.js hold is of use to a new context: they begin anew, with the splats that were shown. */
  private restore(): void {
    const { exactOrder, ofPixels } = this.drawsOn;
    const { content } = this;
    this.drawsOn = this.newStage();
    this.drawsOn.exactOrder = exactOrder;
    this.drawsOn.ofPixels = ofPixels;
    if (content) {
      this.drawsOn.replace(content.words, content.range);
      void this.drawsOn.sort().then(() => this.invalidate());
    }
    this.invalidate();
    this.callWaiting();
  }

  /** The splats that are shown. Words that a GPU made are lost with it: the processor makes them again. */
  private get content(): PackedWords | null {
    const { lifted } = this;
    if (!lifted) return this.stage.content;
    const words = new Uint32Array(capacityFor(lifted.count) * WORDS);
    new Lifter().lift(lifted, LIFTED_RANGE, words);
    return { words, range: { ...LIFTED_RANGE, zOffset: lifted.zOffset } };
  }

  /** Something changed: draw with the next animation frame. */
  invalidate(): void {
    this.dirty = true;
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.tick());
  }

  /** A frame to show instead of any that still waits. */
  show(frame: DecodedFrame): void {
    this.presenter.offer(frame);
    // A hidden page draws nothing until somebody looks; then there will be a newer one.
    const isSeen = this.headset.isOn || !document.hidden;
    if (!isSeen || this.stage.disposed) this.presenter.skip();
    else this.invalidate();
  }

  /** The frame that waits to be drawn won't be. */
  skip(): void {
    this.presenter.skip();
  }

  /** Another source is coming: its subject may be at another depth. */
  forgetPivot(): void {
    this.hasPivot = false;
    this.headset.forgetPlace();
  }

  /** Where the camera's picture lies in the window. */
  private get pictureRect(): PictureRect {
    return this.rectIn(WHOLE, this.room(aspectOf(this.intrinsics)));
  }

  /** Where it lies in a part of the window, in fractions of that part. */
  private rectIn({ width, height }: PictureRect, room: PictureRect): PictureRect {
    const { clientWidth, clientHeight } = this.canvas;
    return containRect(this.intrinsics, (width * clientWidth) / Math.max(1, height * clientHeight), room);
  }

  /**
   * The current view, or the camera's picture from the capture viewpoint, as a canvas of device pixels.
   * Transparent where there is no splat.
   */
  capture(fromCaptureViewpoint: boolean): HTMLCanvasElement {
    this.resize();
    const axes = this.axes.group.visible;
    if (fromCaptureViewpoint) {
      this.axes.group.visible = false;
      this.pose(true);
      this.stage.draw();
    } else {
      this.paint();
    }
    this.axes.group.visible = axes;
    const { width, height } = this.canvas;
    const rect = fromCaptureViewpoint ? this.pictureRect : { left: 0, top: 0, width: 1, height: 1 };
    const copy = document.createElement("canvas");
    copy.width = Math.round(rect.width * width);
    copy.height = Math.round(rect.height * height);
    const [left, top] = [Math.round(rect.left * width), Math.round(rect.top * height)];
    // In the same task as the drawing, so that the drawing buffer is still there.
    copy.getContext("2d")!.drawImage(this.canvas, -left, -top);
    this.invalidate();
    return copy;
  }

  private async tick(): Promise<void> {
    this.scheduled = false;
    // A headset has pictures of its own.
    if (this.headset.isOn) return;
    // In exact order a sort may be under way: it draws when it is done.
    if (this.presenter.busy || this.stage.disposed) return;
    const now = performance.now();
    // After a sleep the first step must not jump.
    this.moved = this.orbit.advance(Math.min(50, now - this.lastTickMs));
    this.lastTickMs = now;
    if (!this.dirty && !this.moved) return;
    this.dirty = false;
    await this.presenter.present();
    if (this.dirty || (this.moved && !this.orbit.swaysOnly)) this.invalidate();
    else if (this.moved) void this.swayOn();
  }

  /** Draws the next picture of a view that sways. The stream comes first: on a slow device, half of the time is left to it. */
  private async swayOn(): Promise<void> {
    if (this.swaysOn) return;
    this.swaysOn = true;
    const beganMs = performance.now();
    await this.stage.finished();
    const tookMs = performance.now() - beganMs;
    if (tookMs > SLOW_MS) await new Promise((resolve) => setTimeout(resolve, tookMs));
    this.swaysOn = false;
    this.invalidate();
  }

  private async draw(frame: DecodedFrame | null): Promise<void> {
    const beganMs = performance.now();
    if (frame) this.accept(frame);
    if (this.headset.isOn) {
      // Within the headset's own picture: nothing may be waited for.
      this.stage.draw();
      return;
    }
    this.resize();
    this.pose(false);
    const sorted = frame && this.stage.needsSort ? this.stage.sort() : null;
    // A moving view doesn't wait for its order: that lags by a fraction of a degree, while waiting would show as stutter.
    if (!sorted && this.stage.exactOrder && this.moved) this.stage.sortSoon();
    const waitsMs = performance.now();
    if (sorted) await Promise.race([sorted, this.lost]);
    const goesOnMs = performance.now();
    if (this.headset.isOn) return;
    this.paint();
    if (frame) this.events.busy(waitsMs - beganMs + performance.now() - goesOnMs);
  }

  private accept(frame: DecodedFrame): void {
    this.intrinsics = frame.camera;
    if (frame.pivotDepth > 0) {
      this.pivot += (this.hasPivot ? PIVOT_SMOOTHING : 1) * (frame.pivotDepth - this.pivot);
      this.hasPivot = true;
    }
    this.axes.update(this.intrinsics, this.pivot);
    const { content } = frame;
    this.stage.ofPixels = isOfPixels(frame.kind);
    if (this.lifted) this.events.freed(bufferOf(this.lifted));
    this.lifted = "words" in content ? null : content;
    if ("words" in content) this.events.freed(this.stage.replace(content.words, content.range).buffer);
    else this.stage.lift(content);
  }

  private resize(): void {
    if (this.headset.isOn) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = Math.min(MAX_PIXEL_RATIO, window.devicePixelRatio);
    const size = this.stage.renderer.getSize(new THREE.Vector2());
    if (size.x === width && size.y === height && this.stage.renderer.getPixelRatio() === ratio) return;
    this.stage.renderer.setPixelRatio(ratio);
    this.stage.renderer.setSize(width, height, false);
  }

  /** Draws what the window shows. */
  private paint(): void {
    if (this.stereo === "off") {
      this.pose(false);
      this.stage.draw();
      return;
    }
    const room = this.room(2 * aspectOf(this.intrinsics));
    const eyes = eyesOf(this.stereo, room);
    this.stage.drawParts(eyes.map((eye) => ({ room: eye.room, aim: () => this.pose(false, eye) })));
  }

  /**
   * Places the camera. At home it is at the origin and looks along three.js's -z, which is the capture camera's +z.
   *
   * @param eye Of a pair: its part of the window, and how far it is to the right of the middle.
   */
  private pose(home: boolean, eye: Eye | null = null): void {
    const { camera } = this.stage;
    const pose = home ? { yawDeg: 0, pitchDeg: 0, distance: 1, panX: 0, panY: 0 } : this.orbit.pose;
    const aside = eye?.offset ?? 0;
    camera.quaternion.setFromEuler(new THREE.Euler(rad(-pose.pitchDeg), rad(pose.yawDeg), 0, "YXZ"));
    const offset = new THREE.Vector3(-pose.panX + aside * pose.distance, -pose.panY, pose.distance).multiplyScalar(this.pivot);
    camera.position.copy(offset.applyQuaternion(camera.quaternion)).add(new THREE.Vector3(0, 0, -this.pivot));
    camera.near = this.pivot * NEAR;
    camera.far = this.pivot * FAR;
    const widened = home ? 1 : this.fieldOfView;
    const rect = eye ? this.rectIn(eye.room, WHOLE) : this.pictureRect;
    const [left, right, top, bottom] = frustum(this.intrinsics, rect);
    const near = (edge: number, shift = 0): number => camera.near * (edge * widened - shift);
    camera.projectionMatrix.makePerspective(
      ...([near(left, aside), near(right, aside), near(top), near(bottom)] as const),
      ...([camera.near, camera.far] as const),
    );
    camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
    camera.updateMatrixWorld();
  }
}

function rad(degrees: number): number {
  return (degrees * Math.PI) / 180;
}
