// The peer of the image bench: sharp, told by one JSON object per line what to do, answering each
// with one line. It stays up between the runs, so that no start-up is measured.
//
//   {"do":"load","photos":[path]}                  reads the photos into memory
//   {"do":"run","form","format","sizes","keep"}    makes every size of every photo; answers CPU seconds
//   {"do":"pixels","path","to"}                    decodes a file to raw RGB, for scoring

import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

// One thread and no memory of earlier calls: CPU is compared, not scheduling.
sharp.concurrency(1);
sharp.cache(false);

const QUALITY = 85;
let photos = [];

// `inside`, never enlarged: what Larder's `resize:inside` means.
const bounded = (image, [width, height]) =>
  image.resize(width, height, { fit: 'inside', withoutEnlargement: true });

const encoded = (image, format) =>
  (format === 'webp' ? image.webp({ quality: QUALITY }) : image.jpeg({ quality: QUALITY })).toBuffer();

const FORMS = {
  // The usual form: one pipeline per size, each of which decodes for itself.
  async clone(photo, sizes, format) {
    const source = sharp(photo).autoOrient();
    const outputs = [];
    for (const size of sizes) outputs.push(await encoded(bounded(source.clone(), size), format));
    return outputs;
  },
  // The thriftiest form: one decode, each size from the raw pixels of the one before.
  async cascade(photo, sizes, format) {
    let source = sharp(photo).autoOrient();
    const outputs = [];
    for (const [index, size] of sizes.entries()) {
      if (sizes.length === 1) return [await encoded(bounded(source, size), format)];
      const { data, info } = await bounded(source, size).raw().toBuffer({ resolveWithObject: true });
      const raw = { width: info.width, height: info.height, channels: info.channels };
      outputs[index] = await encoded(sharp(data, { raw }), format);
      source = sharp(data, { raw });
    }
    return outputs;
  },
};

const ORDERS = {
  async load({ photos: paths }) {
    photos = await Promise.all(paths.map((path) => readFile(path)));
    return { sharp: sharp.versions.sharp, vips: sharp.versions.vips };
  },
  async run({ form, format, sizes, keep }) {
    const before = process.cpuUsage();
    const outputs = [];
    for (const photo of photos) outputs.push(await FORMS[form](photo, sizes, format));
    const { user, system } = process.cpuUsage(before);
    if (keep) {
      const files = outputs.flatMap((sizes, photo) => sizes.map((bytes, size) => [photo, size, bytes]));
      await Promise.all(files.map(([photo, size, bytes]) => writeFile(`${keep}/${photo}-${size}`, bytes)));
    }
    return { cpu_seconds: (user + system) / 1e6 };
  },
  async pixels({ path, to }) {
    const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    await writeFile(to, data);
    return { width: info.width, height: info.height };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: order, ...rest } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await ORDERS[order](rest))}\n`);
}
