// Axes at the pivot and the outline of the capture camera, in the capture camera's frame: red x right, green y down, blue z forward.

import * as THREE from "three";
import type { Camera } from "../stream/messages.js";

/** Sizes relative to the pivot's depth. */
const AXES = 0.12;
const FRUSTUM = 0.25;
const AXES_DIRECTIONS = [
  [1, 0, 0, 0xff5b5b],
  [0, 1, 0, 0x62d96b],
  [0, 0, 1, 0x5b9bff],
] as const;

export class Axes {
  readonly group = new THREE.Group();
  private readonly arrows = new THREE.Group();
  private readonly outline: THREE.LineSegments<THREE.BufferGeometry, THREE.LineBasicMaterial>;

  constructor() {
    const material = new THREE.LineBasicMaterial({ color: 0x8fb8ff, transparent: true, opacity: 0.8 });
    this.outline = new THREE.LineSegments(new THREE.BufferGeometry(), material);
    this.outline.geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(16 * 3), 3));
    this.outline.frustumCulled = false;
    AXES_DIRECTIONS.forEach(([x, y, z, color]) => this.arrows.add(arrow(new THREE.Vector3(x, y, z), color)));
    this.group.add(this.arrows, this.outline);
    // Drawn after the splats and over them, which takes the transparent pass: inside a cloud they would drown.
    this.group.traverse((part) => {
      if (!(part instanceof THREE.Mesh || part instanceof THREE.LineSegments)) return;
      Object.assign(part.material, { transparent: true, depthTest: false });
      part.renderOrder = 10;
    });
    this.group.visible = false;
  }

  /** Fits them to a frame. */
  update(camera: Camera, pivotDepth: number): void {
    this.arrows.position.set(0, 0, pivotDepth);
    this.arrows.scale.setScalar(pivotDepth * AXES);
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

/** Of length 1 from the origin. Lines are one pixel wide in WebGL, so it is a body. */
function arrow(direction: THREE.Vector3, color: number): THREE.Mesh {
  const shaft = new THREE.CylinderGeometry(0.018, 0.018, 0.82).translate(0, 0.41, 0);
  const mesh = new THREE.Mesh(shaft, new THREE.MeshBasicMaterial({ color }));
  mesh.add(new THREE.Mesh(new THREE.ConeGeometry(0.06, 0.18).translate(0, 0.91, 0), mesh.material));
  mesh.quaternion.setFromUnitVectors(new THREE.Vector3(0, 1, 0), direction);
  return mesh;
}
