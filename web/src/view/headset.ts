// The scene in a headset, or in the room that a phone's camera shows: WebXR by three.js, which Spark draws for.
//
// The eyes are where the capture camera was, and the scene is as large as it takes for the subject to be at arm's length: what is seen
// is right from there, and worse the further one walks.

import * as THREE from "three";
import type { Stage } from "./stage.js";

export type HeadsetMode = "vr" | "ar";

const SESSIONS = { vr: "immersive-vr", ar: "immersive-ar" } as const satisfies Record<HeadsetMode, XRSessionMode>;
/** How far in front of the eyes the subject is put, metres. */
const SUBJECT_M = 1.25;
/** Of a headset's pixels, along each side: Spark's own default. Splats fill many times as many as they are. */
const RESOLUTION = 0.5;

/** What this device can do; nothing where the browser has no WebXR, or the page may not use it. */
export async function headsetModes(xr: XRSystem | undefined = navigator.xr): Promise<HeadsetMode[]> {
  const modes: HeadsetMode[] = [];
  // A page that frames this one may not let it: to ask all the same would be an error in the console.
  const page = globalThis.document as { featurePolicy?: { allowsFeature(name: string): boolean } } | undefined;
  if (page?.featurePolicy?.allowsFeature("xr-spatial-tracking") === false) return modes;
  for (const mode of ["vr", "ar"] as const) {
    if (await xr?.isSessionSupported(SESSIONS[mode]).catch(() => false)) modes.push(mode);
  }
  return modes;
}

/** Where the capture camera's frame is put in a room. */
export interface Placement {
  readonly position: THREE.Vector3;
  readonly quaternion: THREE.Quaternion;
  readonly scale: number;
}

/**
 * The capture camera at somebody's eyes, level, facing where they look.
 *
 * @param position Of the head, metres.
 * @param orientation Of the head.
 * @param subject The subject's depth in the scene's own units.
 */
export function placementOf(position: THREE.Vector3, orientation: THREE.Quaternion, subject: number): Placement {
  const ahead = new THREE.Vector3(0, 0, -1).applyQuaternion(orientation);
  const yaw = Math.atan2(-ahead.x, -ahead.z);
  // Half a turn about x takes OpenCV's axes to three.js's, as on the page.
  const quaternion = new THREE.Quaternion(0, Math.sin(yaw / 2), 0, Math.cos(yaw / 2)).multiply(
    new THREE.Quaternion(1, 0, 0, 0),
  );
  return { position: position.clone(), quaternion, scale: SUBJECT_M / subject };
}

/** What a headset needs of the player. */
export interface HeadsetHost {
  readonly stage: Stage;
  /** Depth of the subject in the scene's own units; null: there is none yet. */
  readonly subject: number | null;
  /** Draws the newest frame, at once. */
  draw(): void;
  /** It was entered, or left. */
  changed(inside: HeadsetMode | null): void;
}

export class Headset {
  private session: XRSession | null = null;
  private isPlaced = false;

  constructor(private readonly host: HeadsetHost) {}

  /** The scene is drawn there, and not in the window. */
  get isOn(): boolean {
    return this.session !== null;
  }

  /** @throws Error If the browser refuses, or the device is used by another page. */
  async enter(mode: HeadsetMode): Promise<void> {
    if (this.session || !navigator.xr) return;
    const session = await navigator.xr.requestSession(SESSIONS[mode]);
    const { stage } = this.host;
    const { xr } = stage.renderer;
    const { exactOrder } = stage;
    this.session = session;
    this.isPlaced = false;
    const left = (): void => {
      if (this.session !== session) return;
      this.session = null;
      stage.renderer.setAnimationLoop(null);
      xr.enabled = false;
      if (!stage.disposed) stage.exactOrder = exactOrder;
      stage.captureFrame.position.set(0, 0, 0);
      stage.captureFrame.quaternion.set(1, 0, 0, 0);
      stage.captureFrame.scale.setScalar(1);
      this.host.changed(null);
    };
    // A trigger, a pinch or a tap: the scene is put where one is now.
    session.addEventListener("select", () => (this.isPlaced = false));
    // three.js has then put the window's picture back; where it had not begun, nothing is to be put back.
    xr.addEventListener("sessionend", left);
    session.addEventListener("end", () => setTimeout(left));
    xr.enabled = true;
    xr.setReferenceSpaceType("local");
    xr.setFramebufferScaleFactor(RESOLUTION);
    try {
      await xr.setSession(session);
    } catch (error) {
      await session.end().catch(() => undefined);
      left();
      throw error;
    }
    // A picture that waits for its order would make one dizzy.
    stage.exactOrder = false;
    stage.renderer.setAnimationLoop((_, frame) => frame && this.frame(frame));
    this.host.changed(mode);
  }

  async leave(): Promise<void> {
    await this.session?.end();
  }

  /** Another scene has another depth. */
  forgetPlace(): void {
    this.isPlaced = false;
  }

  private frame(frame: XRFrame): void {
    if (!this.isPlaced) this.place(frame);
    this.host.draw();
  }

  private place(frame: XRFrame): void {
    const { stage, subject } = this.host;
    const space = stage.renderer.xr.getReferenceSpace();
    const pose = space && frame.getViewerPose(space);
    if (!pose) return;
    const { position: at, orientation: to } = pose.transform;
    const head = new THREE.Quaternion(to.x, to.y, to.z, to.w);
    const { position, quaternion, scale } = placementOf(new THREE.Vector3(at.x, at.y, at.z), head, subject ?? 1);
    stage.captureFrame.position.copy(position);
    stage.captureFrame.quaternion.copy(quaternion);
    stage.captureFrame.scale.setScalar(scale);
    // Until there is something to be seen, its place is that of the head.
    this.isPlaced = subject !== null;
  }
}
