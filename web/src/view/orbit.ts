// Orbit around the subject: angles, distance and pan with limits, smoothed. Pure; the page feeds it events and time.

/**
 * From the capture viewpoint a single view looks right; far from it, one sees what the camera never saw. The angles are those of
 * an engine that does not say how far its frames look right.
 */
const LIMITS = { yawDeg: 35, pitchDeg: 25, nearest: 0.45, farthest: 2.2, pan: 0.35 };
/** A webcam's picture reaches 0.43 of the distance up and down from its middle, and further to the sides. */
const PAN_PER_DISTANCE = 0.4;
const FREE_LIMITS = { yawDeg: 180, pitchDeg: 85, nearest: 0.1, farthest: 6, pan: 2 };
/** Time constant of the motion. */
const GLIDE_MS = 90;
const SETTLED = 1e-4;
/** `share` of the limits, so that a view from the front never sways to where it looks wrong. */
const SWAY = { yawDeg: 9, pitchDeg: 3, share: 0.6, periodMs: 7000 };

export interface OrbitPose {
  /** Degrees to the right, as seen from above. */
  yawDeg: number;
  /** Degrees up. */
  pitchDeg: number;
  /** Distance relative to the default one. */
  distance: number;
  /** Sideways and up, relative to the pivot's depth. */
  panX: number;
  panY: number;
}

const HOME: OrbitPose = { yawDeg: 0, pitchDeg: 0, distance: 1, panX: 0, panY: 0 };

/**
 * Whether a view sways by itself at first: what is new about it is its depth, and only motion shows that.
 *
 * @param lessMotion The system asks for less of it.
 * @param isAimed The page's address says where to look from.
 * @param inSoftware The processor draws, and is needed for frames.
 */
export function swaysAtFirst(lessMotion: boolean, isAimed: boolean, inSoftware: boolean): boolean {
  return !lessMotion && !isAimed && !inSoftware;
}

export class Orbit {
  free = false;
  /** No gliding, for people who asked their system for less motion. */
  still = false;
  private readonly target: OrbitPose = { ...HOME };
  private readonly current: OrbitPose = { ...HOME };
  private swayMs = 0;
  private sways = false;
  private aroundDeg = LIMITS.yawDeg;

  get sway(): boolean {
    return this.sways;
  }

  /** Begins without a jump, and ends where it is: who takes hold of the view finds it there. */
  set sway(sway: boolean) {
    if (sway === this.sways) return;
    if (!sway) {
      Object.assign(this.current, this.pose);
      this.aim({ ...this.current });
    }
    this.sways = sway;
    this.swayMs = 0;
  }

  /** How far to the side frames look right, degrees; 0: nobody has said. A view beyond glides back. */
  set around(deg: number) {
    const aroundDeg = deg > 0 ? Math.min(deg, FREE_LIMITS.yawDeg) : LIMITS.yawDeg;
    if (aroundDeg === this.aroundDeg) return;
    this.aroundDeg = aroundDeg;
    this.aim({});
  }

  /** Nothing moves but the sway. */
  get swaysOnly(): boolean {
    return this.sways && (Object.keys(HOME) as (keyof OrbitPose)[]).every((key) => this.target[key] === this.current[key]);
  }

  /** Where to look from now. */
  get pose(): OrbitPose {
    if (!this.sways) return this.current;
    const phase = (2 * Math.PI * this.swayMs) / SWAY.periodMs;
    const less = this.free ? 1 : Math.min(1, (SWAY.share * this.aroundDeg) / SWAY.yawDeg);
    return {
      ...this.current,
      yawDeg: this.current.yawDeg + less * SWAY.yawDeg * Math.sin(phase),
      pitchDeg: this.current.pitchDeg + less * SWAY.pitchDeg * Math.sin(2 * phase),
    };
  }

  turn(yawDeg: number, pitchDeg: number): void {
    this.aim({ yawDeg: this.target.yawDeg + yawDeg, pitchDeg: this.target.pitchDeg + pitchDeg });
  }

  zoom(factor: number): void {
    this.aim({ distance: this.target.distance * factor });
  }

  pan(x: number, y: number): void {
    this.aim({ panX: this.target.panX + x, panY: this.target.panY + y });
  }

  reset(): void {
    this.aim(HOME);
  }

  /** Goes somewhere within the limits. */
  aim(to: Partial<OrbitPose>): void {
    Object.assign(this.target, to);
    const { aroundDeg } = this;
    const angles = { yawDeg: aroundDeg, pitchDeg: Math.min(LIMITS.pitchDeg, (aroundDeg * LIMITS.pitchDeg) / LIMITS.yawDeg) };
    const limits = this.free ? FREE_LIMITS : { ...LIMITS, ...angles };
    const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));
    const t = this.target;
    t.yawDeg = clamp(t.yawDeg, -limits.yawDeg, limits.yawDeg);
    t.pitchDeg = clamp(t.pitchDeg, -limits.pitchDeg, limits.pitchDeg);
    t.distance = clamp(t.distance, limits.nearest, limits.farthest);
    // From near one sees less: the subject's middle stays within the picture.
    const pan = this.free ? limits.pan : Math.min(limits.pan, PAN_PER_DISTANCE * t.distance);
    t.panX = clamp(t.panX, -pan, pan);
    t.panY = clamp(t.panY, -pan, pan);
  }

  /** Moves on by `elapsedMs`. Returns whether anything moved, so that the picture must be drawn again. */
  advance(elapsedMs: number): boolean {
    if (this.sways) this.swayMs += elapsedMs;
    const step = 1 - Math.exp(-elapsedMs / GLIDE_MS);
    let moved = false;
    for (const key of Object.keys(HOME) as (keyof OrbitPose)[]) {
      const rest = this.target[key] - this.current[key];
      if (rest === 0) continue;
      // Ends exactly on the target: the capture viewpoint must be exact, and the loop must come to rest.
      this.current[key] = this.still || Math.abs(rest) < SETTLED ? this.target[key] : this.current[key] + rest * step;
      moved = true;
    }
    return moved || this.sways;
  }
}
