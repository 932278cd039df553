// Axes at the pivot and the outline of the capture camera, in the capture camera's frame: red x right, green y down, blue z forward.

import * as THREE from "three";
import type { CameraIntrinsics } from "../messages.js";

/** Sizes over the pivot's depth. */
const AXES = 0.12;
const FRUSTUM = 0.25;

export class Helpers {
  readonly group = new THREE.Group();
  private readonly axes = new THREE.AxesHelper(1);
  private readonly outline: THREE.LineSegments<THREE.BufferGeometry, THREE.LineBasicMaterial>;

  constructor() {
    const material = new THREE.LineBasicMaterial({ color: 0x8fb8ff, transparent: true, opacity: 0.8 });
    this.outline = new THREE.LineSegments(new THREE.BufferGeometry(), material);
    this.outline.geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(16 * 3), 3));
    this.outline.frustumCulled = false;
    // Drawn over the splats: inside a cloud they would drown.
    for (const lines of [this.axes, this.outline]) {
      (lines.material as THREE.Material).depthTest = false;
      lines.renderOrder = 10;
    }
    this.group.add(this.axes, this.outline);
    this.group.visible = false;
  }

  /** Fit them to a frame. */
  update(camera: CameraIntrinsics, pivotDepth: number): void {
    this.axes.position.set(0, 0, pivotDepth);
    this.axes.scale.setScalar(pivotDepth * AXES);
    const z = pivotDepth * FRUSTUM;
    const [x0, x1] = [(-camera.cx / camera.fx) * z, ((camera.width - camera.cx) / camera.fx) * z];
    const [y0, y1] = [(-camera.cy / camera.fy) * z, ((camera.height - camera.cy) / camera.fy) * z];
    const corners = [[x0, y0, z] as const, [x1, y0, z] as const, [x1, y1, z] as const, [x0, y1, z] as const];
    const position = this.outline.geometry.getAttribute("position") as THREE.BufferAttribute;
    corners.forEach((corner, i) => {
      position.setXYZ(4 * i, 0, 0, 0);
      position.setXYZ(4 * i + 1, ...corner);
      position.setXYZ(4 * i + 2, ...corner);
      position.setXYZ(4 * i + 3, ...corners[(i + 1) % 4]!);
    });
    position.needsUpdate = true;
  }
}
