// The face mesh's network and its canonical face, cut out of the file in which @mediapipe/face_mesh packs its models.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const PACKAGE = "@mediapipe/face_mesh";
const PACKED = "face_mesh_solution_packed_assets";

/** What is taken, by the name it keeps, and its SHA-256: another version of the package must be looked at first. */
const PARTS = {
  "face_landmark.tflite": "c603fa6149219a3e9487dc9abd7a0c24474c77263273d24868378cdf40aa26d1",
  "geometry_pipeline_metadata_landmarks.binarypb": "bdbcda96dfcb7da883da124aaa2c55dee49770d934f0fcc71747f8c21bdc75b4",
};

/**
 * Writes the parts into a folder.
 *
 * @param modules The folder node_modules.
 * @param target Where to.
 * @throws Error Where the package does not name a part, or it is not the expected one.
 */
export async function placeFaceMesh(modules, target) {
  const folder = join(modules, PACKAGE);
  const loader = await readFile(join(folder, `${PACKED}_loader.js`), "utf8");
  const packed = await readFile(join(folder, `${PACKED}.data`));
  for (const [name, expected] of Object.entries(PARTS)) {
    // The loader lists them as {"filename": "/third_party/…/face_landmark.tflite", "start": 2495952, "end": 3737848}.
    const place = loader.match(new RegExp(`/${name.replace(".", "\\.")}", "start": (\\d+), "end": (\\d+)`));
    if (!place)
      throw new Error(`${PACKAGE}: ${PACKED}_loader.js does not name ${name}: is package.json's version the expected one?`);
    const part = packed.subarray(Number(place[1]), Number(place[2]));
    const found = createHash("sha256").update(part).digest("hex");
    if (found !== expected) throw new Error(`${PACKAGE}: ${name}: expected SHA-256 ${expected}, got ${found}`);
    await writeFile(join(target, name), part, { mode: 0o644 });
  }
}
