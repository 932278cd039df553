// Layered depth to Spark's packed words on the GPU: what codecs/lift.ts does, in one pass that writes the texture Spark reads.
//
// Spark's own way would be a SplatGenerator of our arithmetic. This is less: the words are the same as those of every other codec, so
// mesh, sort and exact order know nothing of it, and a test can read them back and compare them. It needs no more than WebGL2's core:
// integer textures, fetched and drawn to.

import * as THREE from "three";
import { FullScreenQuad } from "three/addons/postprocessing/Pass.js";
import { type DepthPixels, MAX_SLOPE, PIXEL_WORDS } from "../codecs/depth_pixels.js";
import { LIFTED_RANGE } from "../codecs/lift.js";
import { LONGEST_PX, MIN_W, SIGMA_PX, THICKNESS } from "../codecs/lift_rows.js";
import { ROW } from "../codecs/words.js";

/** The codec's bound. */
const MAX_LAYERS = 8;

const number = (value: number): string => value.toExponential();

const VERTEX = /* glsl */ `
in vec3 position;
void main() {
  gl_Position = vec4(position.xy, 0.0, 1.0);
}`;

/** The names are those of codecs/lift.ts, whose comments say why. */
const FRAGMENT = /* glsl */ `
precision highp float;
precision highp int;
precision highp usampler2D;

struct Layer {
  ivec3 grid;   // First pixel, width, height.
  vec4 lens;    // fx, fy, cx, cy.
  float jump;
  float growth;
  bool moved;
  mat3 turn;
  vec4 quat;    // w, x, y, z.
  vec3 shift;
};

uniform usampler2D pixels;
uniform Layer layers[${MAX_LAYERS}];
uniform int layerCount;
uniform bool isRound;
uniform float zOffset;
layout(location = 0) out uvec4 words;

const float PI = 3.14159265358979;

uvec2 pixelAt(int index) {
  return texelFetch(pixels, ivec2(index % ${ROW}, index / ${ROW}), 0).xy;
}

bool isSame(float here, float there, float jump) {
  float least = min(here, there);
  return max(here, there) - least <= jump * least && least > 0.0;
}

/** Inverse depth of a neighbour; beyond the layer's edge the surface goes on in a straight line. */
float beside(ivec3 grid, ivec2 at, ivec2 step, float here, float jump) {
  ivec2 there = at + step;
  bool isInside = there.x >= 0 && there.y >= 0 && there.x < grid.y && there.y < grid.z;
  if (!isInside) there = clamp(at - step, ivec2(0), grid.yz - 1);
  float inverse = uintBitsToFloat(pixelAt(grid.x + there.y * grid.y + there.x).y);
  if (isInside) return inverse;
  return isSame(here, inverse, jump) ? 2.0 * here - inverse : here;
}

float slope(float before, float here, float after, float jump) {
  bool onBefore = isSame(here, before, jump);
  bool onAfter = isSame(here, after, jump);
  float total = (onBefore ? here - before : 0.0) + (onAfter ? after - here : 0.0);
  return onBefore && onAfter ? 0.5 * total : total;
}

/** packHalf2x16 may round as it likes: this is to the nearest, ties to even, at most 65504. */
uint halfOf(float value) {
  uint bits = floatBitsToUint(value);
  uint sign = (bits >> 16) & 0x8000u;
  uint magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x477fe000u) return sign | 0x7bffu;
  if (magnitude < 0x38800000u) return sign | (floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000u);
  return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13);
}

uint scaleByte(float scale) {
  float unit = (log(scale) - ${number(LIFTED_RANGE.lnScaleMin)}) / ${number(LIFTED_RANGE.lnScaleMax - LIFTED_RANGE.lnScaleMin)};
  return uint(1.5 + 254.0 * clamp(unit, 0.0, 1.0));
}

/** The axis in the upper 16 bits; that of no rotation is x. */
uint axisBits(vec3 vector) {
  float sum = abs(vector.x) + abs(vector.y) + abs(vector.z);
  if (sum == 0.0) return 0x80ff0000u;
  vec2 p = vector.xy / sum;
  if (vector.z < 0.0) p = (1.0 - abs(p.yx)) * vec2(p.x >= 0.0 ? 1.0 : -1.0, p.y >= 0.0 ? 1.0 : -1.0);
  uvec2 octahedral = uvec2(p * 127.5 + 128.0);
  return (octahedral.x << 16) | (octahedral.y << 24);
}

void main() {
  words = uvec4(0u);
  int index = int(gl_FragCoord.y) * ${ROW} + int(gl_FragCoord.x);
  int l = 0;
  while (l < layerCount && index >= layers[l].grid.x + layers[l].grid.y * layers[l].grid.z) l++;
  if (l == layerCount) return;
  uvec2 pixel = pixelAt(index);
  if (pixel.x >> 24 == 0u) return;
  Layer layer = layers[l];
  ivec3 grid = layer.grid;
  float jump = layer.jump;
  ivec2 at = ivec2((index - grid.x) % grid.y, (index - grid.x) / grid.y);
  float here = uintBitsToFloat(pixel.y);

  vec2 perPixel = 1.0 / layer.lens.xy;
  vec2 ray = (vec2(at) + 0.5 - layer.lens.zw) * perPixel;
  float z = 1.0 / here;
  vec3 place = vec3(ray * z, z);
  float size = 0.5 * (perPixel.x + perPixel.y);
  float sigma = ${number(SIGMA_PX)} * layer.growth;
  vec3 scales = vec3(sigma * size * z);
  vec4 q = vec4(1.0, 0.0, 0.0, 0.0);
  if (!isRound) {
    vec2 slopes = vec2(
      slope(beside(grid, at, ivec2(-1, 0), here, jump), here, beside(grid, at, ivec2(1, 0), here, jump), jump),
      slope(beside(grid, at, ivec2(0, -1), here, jump), here, beside(grid, at, ivec2(0, 1), here, jump), jump));
    slopes = clamp(-layer.lens.xy * slopes * z, -${number(MAX_SLOPE)}, ${number(MAX_SLOPE)});
    vec3 u = vec3(1.0 + slopes.x * ray.x, slopes.x * ray.y, slopes.x) * perPixel.x;
    vec3 v = vec3(slopes.y * ray.x, 1.0 + slopes.y * ray.y, slopes.y) * perPixel.y;
    float e = dot(u, u);
    float f = dot(u, v);
    float g = dot(v, v);
    float apart = abs(e - g) + 0.005 * (e + g);
    float perSpread = inversesqrt(apart * apart + 4.0 * f * f + 1e-24);
    float cosine = sqrt(0.5 + 0.5 * apart * perSpread);
    float sine = (e >= g ? f : -f) * perSpread / cosine;
    vec3 a = cosine * u + sine * v;
    float lengthA = length(a);
    a /= lengthA;
    float facing = 1.0 + dot(slopes, ray);
    float area = length(vec3(slopes, facing));
    vec3 n = vec3(-slopes, facing) / area;
    vec3 b = cross(n, a);
    float lengthB = area * perPixel.x * perPixel.y / lengthA;
    q = vec4(max(1.0 + a.x + b.y + n.z, ${number(MIN_W)}), b.z - n.y, n.x - a.z, a.y - b.x);
    float longest = ${number(LONGEST_PX)} * size;
    scales = z * vec3(sigma * min(vec2(lengthA, lengthB), longest), ${number(THICKNESS)} * size * layer.growth);
  }
  if (layer.moved) {
    place = layer.turn * (place - layer.shift);
    vec4 t = layer.quat;
    q = vec4(t.x * q.x - dot(t.yzw, q.yzw), t.x * q.yzw + q.x * t.yzw + cross(t.yzw, q.yzw));
    if (q.x < 0.0) q = -q;
  }
  float halfAngle = atan(length(q.yzw), q.x);
  uint theta = uint(halfAngle * (2.0 * 255.0 / PI) + 0.5);
  words = uvec4(
    pixel.x,
    halfOf(place.x) | (halfOf(place.y) << 16),
    halfOf(place.z - zOffset) | axisBits(q.yzw),
    scaleByte(scales.x) | (scaleByte(scales.y) << 8) | (scaleByte(scales.z) << 16) | (theta << 24));
}`;

interface LayerUniform {
  grid: THREE.Vector3;
  lens: THREE.Vector4;
  jump: number;
  growth: number;
  moved: boolean;
  turn: THREE.Matrix3;
  quat: THREE.Vector4;
  shift: THREE.Vector3;
}

/** Lifts frames on the GPU, one after the other. Its words span {@link LIFTED_RANGE}. */
export class GpuLifter {
  private readonly layers = Array.from(
    { length: MAX_LAYERS },
    (): LayerUniform => ({
      grid: new THREE.Vector3(),
      lens: new THREE.Vector4(),
      jump: 0,
      growth: 1,
      moved: false,
      turn: new THREE.Matrix3(),
      quat: new THREE.Vector4(),
      shift: new THREE.Vector3(),
    }),
  );
  private texture: THREE.DataTexture | null = null;
  private readonly material = new THREE.RawShaderMaterial({
    glslVersion: THREE.GLSL3,
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    uniforms: {
      pixels: { value: null },
      layers: { value: this.layers },
      layerCount: { value: 0 },
      isRound: { value: false },
      zOffset: { value: 0 },
    },
    depthTest: false,
    depthWrite: false,
    blending: THREE.NoBlending,
  });
  private readonly quad = new FullScreenQuad(this.material);

  constructor(private readonly renderer: THREE.WebGLRenderer) {}

  /** Has the browser compile the shader, where it can without holding up the page. */
  async compile(): Promise<void> {
    const mesh = new THREE.Mesh(new THREE.PlaneGeometry(), this.material);
    await this.renderer.compileAsync(mesh, new THREE.OrthographicCamera());
    mesh.geometry.dispose();
  }

  /**
   * Writes a frame's words, each at its pixel's place, zeros everywhere else. The frame's buffer is free to be used again afterwards.
   *
   * @param target Of Spark's format, with a row of it for each of the frame's.
   */
  lift(frame: DepthPixels, target: THREE.WebGLArrayRenderTarget): void {
    const { uniforms } = this.material;
    uniforms["pixels"]!.value = this.upload(frame.pixels);
    uniforms["layerCount"]!.value = frame.layers.length;
    uniforms["isRound"]!.value = frame.isRound;
    uniforms["zOffset"]!.value = frame.zOffset;
    for (const [i, { first, width, height, fx, fy, cx, cy, jump, growth, move }] of frame.layers.entries()) {
      const layer = this.layers[i]!;
      layer.grid.set(first, width, height);
      layer.lens.set(fx, fy, cx, cy);
      layer.jump = jump;
      layer.growth = growth;
      layer.moved = move !== null;
      if (!move) continue;
      layer.turn.set(...([...move.turn] as Parameters<THREE.Matrix3["set"]>));
      layer.quat.set(...move.quat);
      layer.shift.set(...move.shift);
    }
    const { renderer } = this;
    const before = renderer.getRenderTarget();
    const { autoClear, xr } = renderer;
    const isXr = xr.enabled;
    renderer.autoClear = xr.enabled = false;
    renderer.setRenderTarget(target, 0);
    this.quad.render(renderer);
    renderer.setRenderTarget(before);
    renderer.autoClear = autoClear;
    xr.enabled = isXr;
  }

  private upload(pixels: Uint32Array<ArrayBuffer>): THREE.DataTexture {
    const rows = pixels.length / (PIXEL_WORDS * ROW);
    if (this.texture?.image.height !== rows) {
      this.texture?.dispose();
      this.texture = new THREE.DataTexture(pixels, ROW, rows, THREE.RGIntegerFormat, THREE.UnsignedIntType);
      this.texture.internalFormat = "RG32UI";
    }
    this.texture.image.data = pixels;
    this.texture.needsUpdate = true;
    return this.texture;
  }
}
