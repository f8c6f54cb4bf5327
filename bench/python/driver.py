"""Peers of the image bench: Pillow or pyvips (the argument says which), in the same way as sharp's driver.

One JSON object per line says what to do, and each is answered with one line. It stays up between the
runs, so that no start-up is measured.

  {"do":"load","files":[path]}                              reads the files into memory
  {"do":"run","format","options","sizes","repeat","keep"}   makes every size; answers CPU seconds

Both work as thriftily as they can: one decode at the scale that the largest size needs, each size from
the one before.
"""

import io
import json
import os
import sys
import time

# One thread: CPU is compared, not scheduling. Read when libvips is loaded.
os.environ["VIPS_CONCURRENCY"] = "1"


class Pillow:
    def __init__(self):
        import PIL
        from PIL import Image, ImageOps, features

        # sharp's driver has its limit from libvips; this one would only warn.
        Image.MAX_IMAGE_PIXELS = None
        self.image, self.ops = Image, ImageOps
        self.version = f"Pillow {PIL.__version__} (libjpeg-turbo {features.version('libjpeg_turbo')})"

    def make(self, file, sizes, form, options):
        image = self.image.open(io.BytesIO(file))
        turned = image.getexif().get(0x0112, 1) >= 5
        for number, size in enumerate(sizes):
            bounds = size[::-1] if turned and number == 0 else size
            fraction = min(1, bounds[0] / image.width, bounds[1] / image.height)
            size = (max(1, round(image.width * fraction)), max(1, round(image.height * fraction)))
            # Shrinks on load, for JPEG; nothing once the picture is decoded.
            image.draft(None, size)
            if image.mode == "P":
                image = image.convert("RGBA")
            small = image.resize(size, self.image.Resampling.LANCZOS)
            if number == 0:
                # Turned when it is small: the four edges are the same either way. Resizing drops the EXIF.
                small.info["exif"] = image.info.get("exif", b"")
                small = self.ops.exif_transpose(small)
                # No profile and no EXIF in the outputs, as with the others.
                small.info.clear()
            output = io.BytesIO()
            small.save(output, form.upper(), **options)
            yield output.getvalue()
            image = small


class Pyvips:
    def __init__(self):
        import pyvips

        pyvips.cache_set_max(0)
        self.image = pyvips.Image
        self.version = f"pyvips {pyvips.__version__} (libvips {'.'.join(str(pyvips.version(n)) for n in range(3))})"

    def make(self, file, sizes, form, options):
        image = None
        # libvips calls quality Q; effort has the same name.
        options = {{"quality": "Q"}.get(name, name): value for name, value in options.items()}
        for width, height in sizes:
            if image is None:
                image = self.image.thumbnail_buffer(file, width, height=height, size="down")
            else:
                image = image.thumbnail_image(width, height=height, size="down")
            image = image.copy_memory()
            yield image.write_to_buffer(f".{form}", keep="none", **options)


PEERS = {"pillow": Pillow, "pyvips": Pyvips}


def main():
    peer = PEERS[sys.argv[1]]()
    files = []
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "load":
            files = []
            for path in order["files"]:
                with open(path, "rb") as file:
                    files.append(file.read())
            answer = {"version": peer.version}
        else:
            before = time.process_time()
            for _ in range(order["repeat"]):
                outputs = [list(peer.make(file, order["sizes"], order["format"], order["options"])) for file in files]
            answer = {"cpu_seconds": time.process_time() - before}
            if order["keep"]:
                for number, sizes in enumerate(outputs):
                    for size, output in enumerate(sizes):
                        with open(f"{order['keep']}/{number}-{size}", "wb") as file:
                            file.write(output)
        print(json.dumps(answer), flush=True)


main()
