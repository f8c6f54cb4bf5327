// A peer of the image bench: sharp, told by one JSON object per line what to do, answering each
// with one line. It stays up between the runs, so that no start-up is measured.
//
//   {"do":"load","files":[path]}            reads the files into memory
//   {"do":"run","form","format","options","sizes","repeat","keep"}
//                                           makes every size of every file; answers CPU seconds
//   {"do":"pixels","path","to"}             decodes a file to raw RGB on white, for scoring
//   {"do":"enlarge","path","to","width","height","options"}
//                                           writes a file as a JPEG of another size

import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

// One thread and no memory of earlier calls: CPU is compared, not scheduling.
sharp.concurrency(1);
sharp.cache(false);

let files = [];

// `inside`, never enlarged: what Larder's `resize:inside` means.
const bounded = (image, [width, height]) =>
  image.resize(width, height, { fit: 'inside', withoutEnlargement: true });

const FORMS = {
  // The usual form: one pipeline per size, each of which decodes for itself.
  async clone(file, sizes, encoded) {
    const source = sharp(file).autoOrient();
    const outputs = [];
    for (const size of sizes) outputs.push(await encoded(bounded(source.clone(), size)));
    return outputs;
  },
  // The thriftiest form: one decode, each size from the raw pixels of the one before.
  async cascade(file, sizes, encoded) {
    let source = sharp(file).autoOrient();
    const outputs = [];
    for (const [index, size] of sizes.entries()) {
      const { data, info } = await bounded(source, size).raw().toBuffer({ resolveWithObject: true });
      const raw = { width: info.width, height: info.height, channels: info.channels };
      outputs[index] = await encoded(sharp(data, { raw }));
      source = sharp(data, { raw });
    }
    return outputs;
  },
};

const ORDERS = {
  async load({ files: paths }) {
    files = await Promise.all(paths.map((path) => readFile(path)));
    return { version: `sharp ${sharp.versions.sharp} (libvips ${sharp.versions.vips})` };
  },
  async run({ form, format, options, sizes, repeat, keep }) {
    const encoded = (image) => image.toFormat(format, options).toBuffer();
    const before = process.cpuUsage();
    let outputs = [];
    for (let n = 0; n < repeat; n++) {
      outputs = [];
      for (const file of files) outputs.push(await FORMS[form](file, sizes, encoded));
    }
    const { user, system } = process.cpuUsage(before);
    if (keep) {
      const kept = outputs.flatMap((sizes, file) => sizes.map((bytes, size) => [file, size, bytes]));
      await Promise.all(kept.map(([file, size, bytes]) => writeFile(`${keep}/${file}-${size}`, bytes)));
    }
    return { cpu_seconds: (user + system) / 1e6 };
  },
  async pixels({ path, to }) {
    const image = sharp(path).flatten({ background: '#ffffff' }).toColourspace('srgb');
    const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
    await writeFile(to, data);
    return { width: info.width, height: info.height };
  },
  async enlarge({ path, to, width, height, options }) {
    const { size } = await sharp(path).autoOrient().resize(width, height, { fit: 'fill' }).jpeg(options).toFile(to);
    return { size };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: order, ...rest } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await ORDERS[order](rest))}\n`);
}
