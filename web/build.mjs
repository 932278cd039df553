// Builds the viewer into deployments/http/static/ and places the models of npm packages into deployments/models/relief/assets/.
// `node build.mjs --tests` bundles the unit tests into dist/tests/ instead; `--debug` leaves the bundle readable.
import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { placeFaceMesh } from "./face_mesh.mjs";
import { thirdPartyLicences } from "./licences.mjs";

const web = dirname(fileURLToPath(import.meta.url));
const deployments = join(web, "..", "deployments");
const staticFolder = join(deployments, "http", "static");
const assetsFolder = join(deployments, "models", "relief", "assets");

/** Person mask and face detector of the relief engine. Apache-2.0; taken from npm so that git holds no binary. */
const MODELS = [
  "@mediapipe/selfie_segmentation/selfie_segmentation.tflite",
  "@mediapipe/face_detection/face_detection_short_range.tflite",
];
/** Workers are files of their own: 'self' in worker-src is then enough for them. */
const ENTRIES = ["viewer.ts", "selftest.ts", "status.ts", "stream/socket.worker.ts", "capture/capture.worker.ts"];
const PAGES = ["index.html", "selftest.html", "status.html", "viewer.css", "status.css", "favicon.svg"];

/** What is worth compressing: the rest is small, or compressed already. */
const COMPRESSED = /\.(js|css|html|txt)$/;

const LICENCES = "THIRD_PARTY_LICENSES.txt";

// The packages' own notices go into one file, complete and with the indirect packages, instead of into comments.
const common = { legalComments: "none", bundle: true, format: "esm", target: "es2022", logLevel: "warning" };

async function buildViewer(debug) {
  await rm(staticFolder, { recursive: true, force: true });
  await mkdir(staticFolder, { recursive: true });
  for (const page of PAGES) await copyFile(join(web, "public", page), join(staticFolder, page));
  const apache = await readFile(join(web, "..", "LICENSE"), "utf8");
  await writeFile(join(staticFolder, LICENCES), await thirdPartyLicences(web, apache));
  await build({
    ...common,
    banner: { js: `// Licences of what this holds: ${LICENCES}` },
    entryPoints: ENTRIES.map((entry) => ({ in: join(web, "src", entry), out: entry.replace(/^.*\/|\.ts$/g, "") })),
    outdir: staticFolder,
    // The pages share three.js and Spark (3 MB), so they share a chunk.
    splitting: true,
    chunkNames: "[name]-[hash]",
    minify: !debug,
    sourcemap: debug ? "inline" : false,
  });
}

/** A compressed copy beside each file, so that no server has to do it for each visitor. gzip's header holds no time: builds stay alike. */
async function compress() {
  for (const name of await readdir(staticFolder)) {
    if (!COMPRESSED.test(name)) continue;
    await writeFile(join(staticFolder, `${name}.gz`), gzipSync(await readFile(join(staticFolder, name)), { level: 9 }));
  }
}

async function placeModels() {
  await mkdir(assetsFolder, { recursive: true });
  for (const model of MODELS) {
    const target = join(assetsFolder, model.split("/").pop());
    await copyFile(join(web, "node_modules", model), target);
    // The packages carry modes without read permission for others; a service account must read them, too.
    await chmod(target, 0o644);
  }
  await placeFaceMesh(join(web, "node_modules"), assetsFolder);
}

async function buildTests() {
  const out = join(web, "dist", "tests");
  await rm(out, { recursive: true, force: true });
  const tests = (await readdir(join(web, "tests"))).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...common,
    entryPoints: tests.map((name) => join(web, "tests", name)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    define: { __VECTORS__: JSON.stringify(join(web, "..", "tests", "vectors")) },
  });
}

if (process.argv.includes("--tests")) {
  await buildTests();
} else {
  await placeModels();
  await buildViewer(process.argv.includes("--debug"));
  await compress();
}
