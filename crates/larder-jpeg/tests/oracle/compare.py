#!/usr/bin/env python3
"""Compares this crate with libjpeg-turbo, sample for sample.

    cargo build --release --example dump
    python tests/oracle/compare.py target/release/examples/dump FOLDER...

    python tests/oracle/compare.py target/release/examples/dump --damaged

Needs Pillow and numpy; reads every *.jpg of the folders and the pages of every *.cbz, and writes files of
every size and sampling by itself. With TURBOJPEG=/path/to/libturbojpeg.so.0 all planes are compared at all
scales; without it, luma at all scales. RGB is compared at full scale.

With --damaged, small files of every kind are cut behind each byte, and a bit of each byte is flipped: a cut file has
to be refused, and a flipped one to be refused or to give the pixels that libjpeg-turbo gives.
"""
import ctypes
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
from PIL import Image, ImageFile

Image.MAX_IMAGE_PIXELS = None


class Turbo:
    """libjpeg-turbo's planar interface."""

    SAMPLING = {"444": 0, "422": 1, "420": 2, "grey": 3, "440": 4, "411": 5}

    class Factor(ctypes.Structure):
        _fields_ = [("num", ctypes.c_int), ("denom", ctypes.c_int)]

    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.tjInitDecompress.restype = ctypes.c_void_p
        self.lib.tjInitCompress.restype = ctypes.c_void_p
        self.lib.tjGetErrorStr2.restype = ctypes.c_char_p
        self.decoder = ctypes.c_void_p(self.lib.tjInitDecompress())

    def planes(self, data, side):
        """Planes at side/8, or None for what its planar interface refuses."""
        w, h, s, c = (ctypes.c_int() for _ in range(4))
        size = ctypes.c_ulong(len(data))
        if self.lib.tjDecompressHeader3(self.decoder, data, size, *map(ctypes.byref, (w, h, s, c))):
            return None
        if s.value < 0 or c.value not in (1, 2):
            return None
        width, height = -(-w.value * side // 8), -(-h.value * side // 8)
        larger = -(-w.value * (side + 1) // 8), -(-h.value * (side + 1) // 8)
        if larger == (width, height):
            return None  # It takes the largest scale that gives this size.
        planes = []
        for index in range(1 if s.value == 3 else 3):
            pw = self.lib.tjPlaneWidth(index, width, s)
            ph = self.lib.tjPlaneHeight(index, height, s)
            planes.append(np.zeros((ph, pw), np.uint8))
        pointers = (ctypes.c_void_p * len(planes))(*[p.ctypes.data for p in planes])
        accurate = 4096
        if self.lib.tjDecompressToYUVPlanes(self.decoder, data, size, pointers, width, None, height, accurate):
            return None
        return planes

    def encode(self, pixels, sampling, quality, flags):
        height, width = pixels.shape[:2]
        # A handle that has written a progressive file would write wrong tables into a baseline one.
        encoder = ctypes.c_void_p(self.lib.tjInitCompress())
        out, size = ctypes.c_void_p(), ctypes.c_ulong()
        status = self.lib.tjCompress2(
            encoder, pixels.tobytes(), width, 0, height, 0, ctypes.byref(out), ctypes.byref(size),
            self.SAMPLING[sampling], quality, flags)
        assert status == 0, self.lib.tjGetErrorStr2(encoder)
        self.lib.tjDestroy(encoder)
        return ctypes.string_at(out, size.value)


def dump(program, path, side, *more):
    """Header line and samples, or None if the file was refused."""
    run = subprocess.run([program, path, str(side), *more], capture_output=True)
    if run.returncode:
        return None, run.stderr.decode().strip()
    line, _, samples = run.stdout.partition(b"\n")
    return line.decode().split(), np.frombuffer(samples, np.uint8)


def our_planes(program, path, side):
    head, samples = dump(program, path, side)
    if head is None:
        return None, samples
    sizes, planes, start = list(map(int, head[1:])), [], 0
    for width, height in zip(sizes[::2], sizes[1::2]):
        planes.append(samples[start:start + width * height].reshape(height, width))
        start += width * height
    return head[0], planes


def luma(data, side):
    """The first plane, as Pillow has it."""
    with Image.open(io.BytesIO(data)) as image:
        wanted = -(-image.width * side // 8), -(-image.height * side // 8)
        if side < 8:
            image.draft("L" if image.mode != "CMYK" else image.mode, wanted)
        elif image.mode == "RGB":
            image.draft("L", image.size)
        if image.mode == "CMYK" or image.size != wanted:
            return None
        return np.asarray(image.convert("L") if image.mode != "L" else image)


def difference(ours, theirs):
    if ours.shape != theirs.shape:
        return f"size {ours.shape} against {theirs.shape}"
    worst = int(np.abs(ours.astype(int) - theirs).max(initial=0))
    return f"{worst} at most, {(ours != theirs).mean():.2%} of samples" if worst else None


def compare(program, turbo, name, data, path):
    """Differences, in words."""
    found, compared = [], 0
    for side in (1, 2, 4, 8):
        model, ours = our_planes(program, path, side)
        if model is None:
            return [f"{side}/8 refused: {ours}"], compared
        theirs = turbo and turbo.planes(data, side)
        if not theirs and model in ("YCbCr", "Grey"):
            plane = luma(data, side)
            theirs = [plane] if plane is not None else []
        for index, plane in enumerate(theirs or []):
            # The planar interface pads planes to whole sampling units.
            plane = plane[:ours[index].shape[0], :ours[index].shape[1]]
            compared += 1
            if wrong := difference(ours[index], plane):
                found.append(f"{side}/8 plane {index}: {wrong}")
    head, samples = dump(program, path, 8, "rgb")
    if head is not None:
        channels, width, height = map(int, head)
        with Image.open(io.BytesIO(data)) as image:
            theirs = np.asarray(image)
        ours = samples.reshape((height, width, channels) if channels > 1 else (height, width))
        compared += 1
        if wrong := difference(ours, theirs):
            found.append(f"rgb: {wrong}")
    return found, compared


def picture(width, height):
    rng = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 9 + c) * 80 + np.cos(y / (5 + c)) * 60 for c in range(3)], -1)
    return np.clip(128 + waves + rng.normal(0, 18, (height, width, 3)), 0, 255).astype(np.uint8)


def written(turbo):
    """Files of every sampling and many sizes."""
    progressive = 16384
    for width, height in [(1, 1), (2, 3), (7, 9), (8, 8), (17, 33), (64, 48), (131, 97)]:
        pixels = picture(width, height)
        for quality in (30, 95):
            for options in [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"optimize": True},
                            {"progressive": True, "restart_marker_rows": 1}]:
                for sampling in ("4:4:4", "4:2:2", "4:2:0"):
                    out = io.BytesIO()
                    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=sampling, **options)
                    yield f"{width}x{height} {sampling} q{quality} {options}", out.getvalue()
                out = io.BytesIO()
                Image.fromarray(pixels[..., 0]).save(out, "JPEG", quality=quality, **options)
                yield f"{width}x{height} grey q{quality} {options}", out.getvalue()
            if turbo:
                for sampling in Turbo.SAMPLING:
                    for flags in (0, progressive):
                        data = turbo.encode(pixels, sampling, quality, flags)
                        yield f"{width}x{height} {sampling} q{quality} flags {flags}", data


def stored(folders):
    for folder in map(pathlib.Path, folders):
        for path in sorted(folder.rglob("*.jpg")):
            yield path.name, path.read_bytes()
        for path in sorted(folder.rglob("*.cbz")):
            with zipfile.ZipFile(path) as pages:
                for name in pages.namelist():
                    if name.lower().endswith((".jpg", ".jpeg")):
                        yield f"{path.name}/{name}", pages.read(name)


def damaged(program):
    """Names of damaged files that are taken, and not as libjpeg-turbo decodes them."""
    wrong, refused, taken = [], 0, 0
    kinds = [(name, data) for name, data in written(None) if name.startswith("17x33") and " q30 " in name]
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        def ours(data):
            file.seek(0)
            file.truncate()
            file.write(data)
            file.flush()
            return dump(program, file.name, 8, "rgb")
        for name, data in kinds:
            whole, _ = ours(data)
            assert whole, name
            for at in range(1, len(data)):
                if ours(data[:at])[0]:
                    wrong.append(f"{name}: taken though it ends at {at} of {len(data)}")
                refused += 1
            for at in range(len(data)):
                flipped = bytearray(data)
                flipped[at] ^= 1 << (at * 5 + len(data)) % 8
                head, samples = ours(bytes(flipped))
                if head is None:
                    refused += 1
                    continue
                taken += 1
                channels, width, height = map(int, head)
                samples = samples.reshape((height, width, channels) if channels > 1 else (height, width))
                try:
                    with Image.open(io.BytesIO(bytes(flipped))) as image:
                        theirs = np.asarray(image)
                except Exception as error:
                    wrong.append(f"{name}: bit of byte {at}: taken, but {type(error).__name__}: {error}")
                    continue
                if found := difference(samples, theirs):
                    wrong.append(f"{name}: bit of byte {at}: {found}")
    print(*wrong, sep="\n")
    print(f"{len(kinds)} files, {refused} refused, {taken} taken, {len(wrong)} of them otherwise")
    sys.exit(bool(wrong))


def main():
    program, *folders = sys.argv[1:]
    if folders == ["--damaged"]:
        damaged(program)
    turbo = Turbo(os.environ["TURBOJPEG"]) if "TURBOJPEG" in os.environ else None
    files = total = 0
    different = []
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        def run(name, data):
            nonlocal files, total
            file.seek(0)
            file.truncate()
            file.write(data)
            file.flush()
            try:
                found, compared = compare(program, turbo, name, data, file.name)
            except Exception as error:  # What Pillow refuses.
                found, compared = [f"{type(error).__name__}: {error}"], 0
            files, total = files + 1, total + compared
            if found:
                different.append(name)
                print(name, *found, sep="\n    ")
        for name, data in (*stored(folders), *written(turbo)):
            run(name, data)
    print(f"{files} files, {total} comparisons, {len(different)} files with differences")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
