// The notices of what the bundle and the model files hold, from the packages themselves.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const RULE = `\n${"-".repeat(80)}\n\n`;

/**
 * Text with name, version, homepage and licence of every package that is needed at run time, the indirect ones, too.
 *
 * @param web Folder with package-lock.json and node_modules.
 * @param apache Text of the Apache License 2.0, for packages that name it and leave it out.
 * @throws Error Where a package has neither a licence file nor that licence.
 */
export async function thirdPartyLicences(web, apache) {
  const lock = JSON.parse(await readFile(join(web, "package-lock.json"), "utf8"));
  const folders = Object.entries(lock.packages)
    .filter(([path, entry]) => path.startsWith("node_modules/") && !entry.dev && !entry.devOptional)
    .map(([path]) => path);
  const notices = [];
  let needsApache = false;
  for (const path of folders.sort()) {
    const folder = join(web, path);
    const { name, version, license, homepage } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|copying|notice)(\.|-|$)/i.test(file)).sort();
    const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
    if (texts.length === 0) {
      if (license !== "Apache-2.0")
        throw new Error(
          `${name} ${version}: expected a LICENSE file, or "Apache-2.0" in its package.json, got no file and ${JSON.stringify(license)}; ` +
            "find its licence text before it is shipped.",
        );
      needsApache = true;
      texts.push("Apache License 2.0; its text is at the end.");
    }
    const head = [`${name} ${version}`, license, homepage].filter(Boolean).join("\n");
    notices.push(`${head}\n\n${texts.map((text) => text.trim()).join("\n\n")}\n`);
  }
  const opening =
    "Third-party software in Splatcast's viewer (the scripts beside this file) and in its model files (*.tflite and\n" +
    "*.binarypb, taken unchanged from the @mediapipe packages; some are parts of one file there).\n";
  return [opening, ...notices, ...(needsApache ? [`${apache.trim()}\n`] : [])].join(RULE);
}
