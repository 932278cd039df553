// How splats that stand for pixels of a surface are drawn: narrower than they are, with a flat top. Plain ones that are wide enough to
// close blur the picture, and are seen as a grid where it is magnified. What is stored, sent and saved stays plain.
//
// Spark draws an opacity o of 1 to 2, which levels of detail have, as 1 − (1 − e^(−r²/2))ⁿ, where a = 4·o − 3 and n = e^((a² − 1)/e);
// r is in standard deviations. The benchmarks' splatter does so as well (benchmarks/splatter.py).

import { dyno } from "@sparkjsdev/spark";

/** Chosen by `python -m benchmarks.picture --zoom`: a sixth of what showed between splats still does, at 0.2 to 2.4 dB more. */
const NARROWED = 0.75;
/** n: as if so many plain splats lay on top of each other. */
const STACKED = 3;
/** Fainter splats are no surface's, but of a rim that lets through. */
const OPAQUE = 0.95;

const OPACITY = (3 + Math.sqrt(1 + Math.E * Math.log(STACKED))) / 4;

/** A step of Spark's own pass over the splats. */
export class FlatTops {
  /** Whether the frame's splats are pixels of surfaces. */
  readonly on = dyno.dynoBool(false);
  readonly modifier = dyno.dynoBlock({ gsplat: dyno.Gsplat }, { gsplat: dyno.Gsplat }, ({ gsplat }) => {
    if (!gsplat) throw new Error("expected a splat from Spark");
    const flatten = new dyno.Dyno({
      inTypes: { gsplat: dyno.Gsplat, on: "bool" },
      outTypes: { gsplat: dyno.Gsplat },
      statements: ({ inputs, outputs }) => [
        `${outputs.gsplat} = ${inputs.gsplat};`,
        `if (${inputs.on} && ${inputs.gsplat}.rgba.a > ${OPAQUE}) {`,
        `  ${outputs.gsplat}.rgba.a = ${OPACITY};`,
        `  ${outputs.gsplat}.scales *= ${NARROWED};`,
        "}",
      ],
    });
    return { gsplat: flatten.apply({ gsplat, on: this.on }).gsplat };
  });
}

/** Whether splats of a frame of this kind are pixels of surfaces: a network's own Gaussians and those of files are what they are. */
export function isOfPixels(kind: string): boolean {
  return kind === "lifted" || kind === "points";
}
