import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { placeFaceMesh } from "../face_mesh.mjs";

const made: string[] = [];
after(async () => {
  for (const folder of made) await rm(folder, { recursive: true });
});

async function modules(names: string[]): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "splatcast-"));
  made.push(root);
  const folder = join(root, "@mediapipe", "face_mesh");
  await mkdir(folder, { recursive: true });
  const files = names.map((name, i) => ({ filename: `/third_party/${name}`, start: i * 4, end: i * 4 + 4 }));
  const listed = JSON.stringify({ files }).replaceAll('":', '": ').replaceAll(',"', ', "');
  await writeFile(join(folder, "face_mesh_solution_packed_assets_loader.js"), `loadPackage(${listed});`);
  await writeFile(join(folder, "face_mesh_solution_packed_assets.data"), "abcdefghijkl");
  await mkdir(join(root, "out"));
  return root;
}

test("a part that is not the expected one is not placed, and the sentence has both hashes", async () => {
  // The one with attention has a name that ends alike, and lies elsewhere.
  const root = await modules(["face_landmark_with_attention.tflite", "face_landmark.tflite"]);
  // SHA-256 of "efgh".
  const found = "e5e088a0b66163a0a26a5e053d2a4496dc16ab6e0e3dd1adf2d16aa84a078c9d";
  await assert.rejects(
    placeFaceMesh(root, join(root, "out")),
    new RegExp(`face_landmark\\.tflite: expected SHA-256 c603fa.*, got ${found}`),
  );
  assert.deepEqual(await readdir(join(root, "out")), []);
});

test("a package that does not name a part is another version", async () => {
  const root = await modules(["face_landmark_with_attention.tflite"]);
  await assert.rejects(placeFaceMesh(root, join(root, "out")), /does not name face_landmark\.tflite.*version/);
});
