#!/usr/bin/env python3
"""Compares this crate with libjpeg-turbo, sample for sample.

    cargo build --release --example dump
    python tests/oracle/compare.py target/release/examples/dump FOLDER...

    python tests/oracle/compare.py target/release/examples/dump --damaged

Needs Pillow and numpy; reads every *.jpg of the folders and the pages of every *.cbz, and writes files of
every size and sampling by itself. With TURBOJPEG=/path/to/libturbojpeg.so.0 all planes are compared at all
scales; without it, luma at all scales. RGB is compared at full scale. Where sums overflow, libjpeg-turbo is as it is on
x86-64: its plain C gives other samples there.

With --damaged, small files of every kind are damaged in every place (see DAMAGE): each is refused or gives, at every
scale, the samples that libjpeg-turbo gives. With TURBOJPEG there are more kinds. Takes some minutes.
"""
import ctypes
import io
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None

SIDES = (1, 2, 4, 8)


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


class Ours:
    """This crate, by the example `dump`."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.file = tempfile.NamedTemporaryFile(suffix=".jpg")

    def decode(self, data, *wanted):
        """For each wanted thing, the words of its line and its samples, or None and why the file was refused."""
        pathlib.Path(self.file.name).write_bytes(data)
        self.process.stdin.write(f"{','.join(map(str, wanted))} {self.file.name}\n".encode())
        self.process.stdin.flush()
        return [self.answer() for _ in wanted]

    def close(self):
        self.process.communicate()
        self.file.close()

    def answer(self):
        line = self.process.stdout.readline().decode()
        # A panic is no refusal.
        assert line, f"ended with {self.process.wait()}"
        first, _, words = line.strip().partition(" ")
        if first == "refused":
            return None, words
        return words.split(), np.frombuffer(self.process.stdout.read(int(first)), np.uint8)


def as_planes(words, samples):
    sizes, planes, start = list(map(int, words[3:])), [], 0
    for width, height in zip(sizes[::2], sizes[1::2]):
        planes.append(samples[start:start + width * height].reshape(height, width))
        start += width * height
    return planes


def as_pixels(words, samples):
    channels, width, height = map(int, words)
    return samples.reshape((height, width, channels) if channels > 1 else (height, width))


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


def compare(ours, turbo, data):
    """Differences, in words."""
    found, compared = [], 0
    *scales, rgb = ours.decode(data, *SIDES, "rgb")
    for side, (words, samples) in zip(SIDES, scales):
        if words is None:
            return [f"{side}/8 refused: {samples}"], compared
        model, planes = words[0], as_planes(words, samples)
        theirs = turbo and turbo.planes(data, side)
        if not theirs and model in ("YCbCr", "Grey"):
            plane = luma(data, side)
            theirs = [plane] if plane is not None else []
        for index, plane in enumerate(theirs or []):
            # The planar interface pads planes to whole sampling units.
            plane = plane[:planes[index].shape[0], :planes[index].shape[1]]
            compared += 1
            if wrong := difference(planes[index], plane):
                found.append(f"{side}/8 plane {index}: {wrong}")
    if rgb[0] is not None:
        with Image.open(io.BytesIO(data)) as image:
            theirs = np.asarray(image)
        compared += 1
        if wrong := difference(as_pixels(*rgb), theirs):
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


def wild():
    """Grey files with coefficients that no picture has, as far as they are taken: every sum overflows somewhere."""
    rng = np.random.default_rng(7)
    zigzag_of_first_row = [0, 1, 5, 6, 14, 15, 27, 28]
    for number in range(24):
        wide = number % 3 == 2
        steps = rng.integers(1, 65_536 if number % 6 == 5 else 2_000, 64) if wide else rng.integers(1, 256, 64)
        blocks = rng.integers(-1023, 1024, (31 * 17, 64))
        for block in blocks:
            share = rng.choice([0.02, 0.1, 0.5, 1])
            if rng.random() < 0.4:
                block[np.setdiff1d(range(64), zigzag_of_first_row)] = 0
            block[rng.random(64) > share] = 0
        most = min(1023, 4091 // int(steps[0]))
        blocks[:, 0] = rng.integers(-most, most + 1, len(blocks))
        yield f"wild {number}", of_coefficients(blocks, 31, steps, wide)


def of_coefficients(blocks, across, steps, wide):
    """A grey baseline file; blocks and steps in zig-zag order."""
    def segment(marker, content):
        return bytes([0xFF, marker, *(len(content) + 2).to_bytes(2, "big")]) + content

    bits = []

    def put(value, length):
        bits.append(f"{value & (1 << length) - 1:0{length}b}" if length else "")

    def put_symbol(symbol):
        # Codes of 8 bits but for the last two symbols.
        put(*((symbol, 8) if symbol < 254 else (symbol + 254, 9)))

    before = 0
    for block in blocks.tolist():
        difference, before, run = block[0] - before, block[0], 0
        put(category := abs(difference).bit_length(), 4)
        put(difference - (difference < 0), category)
        for value in block[1:]:
            if value == 0:
                run += 1
                continue
            for _ in range(run // 16):
                put_symbol(0xF0)
            put_symbol(run % 16 << 4 | (category := abs(value).bit_length()))
            put(value - (value < 0), category)
            run = 0
        if run:
            put_symbol(0)
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    down = len(blocks) // across
    table = b"".join(int(step).to_bytes(1 + wide, "big") for step in steps)
    return b"".join([
        b"\xff\xd8", segment(0xDB, bytes([wide << 4]) + table),
        segment(0xC0, bytes([8, *(8 * down).to_bytes(2, "big"), *(8 * across).to_bytes(2, "big"), 1, 1, 0x11, 0])),
        segment(0xC4, bytes([0, 0, 0, 0, 12, *[0] * 12, *range(12)])),
        segment(0xC4, bytes([0x10, *[0] * 7, 254, 2, *[0] * 7, *range(256)])),
        segment(0xDA, bytes([1, 1, 0, 0, 63, 0])), data, b"\xff\xd9"])


def stored(folders):
    for folder in map(pathlib.Path, folders):
        for path in sorted(folder.rglob("*.jpg")):
            yield path.name, path.read_bytes()
        for path in sorted(folder.rglob("*.cbz")):
            with zipfile.ZipFile(path) as pages:
                for name in pages.namelist():
                    if name.lower().endswith((".jpg", ".jpeg")):
                        yield f"{path.name}/{name}", pages.read(name)


def to_damage(turbo):
    """Small files of every kind."""
    for name, data in written(turbo):
        if name.startswith("17x33 ") and " q30 " in name or name.startswith("7x9 ") and " q95 " in name:
            yield name, data
    rgb = Image.fromarray(picture(17, 33))
    for options in [{}, {"progressive": True}]:
        out = io.BytesIO()
        rgb.save(out, "JPEG", quality=50, keep_rgb=True, **options)
        yield f"17x33 RGB {options}", out.getvalue()


# What is done to a file, in every place of it: name and resulting files.
DAMAGE = [
    ("cut", lambda data, at: [data[:at]]),
    ("cut, with an end mark put on", lambda data, at: [data[:at] + b"\xff\xd9"]),
    ("byte lost", lambda data, at: [data[:at] + data[at + 1:]]),
    ("byte doubled", lambda data, at: [data[:at + 1] + data[at:]]),
    ("byte zeroed", lambda data, at: [data[:at] + b"\0" + data[at + 1:]]),
    ("bit flipped", lambda data, at: [
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:] for bit in range(8)]),
]


def libjpeg(data, size, mode, side=8):
    """The pixels that libjpeg-turbo makes, or None if it refuses.

    Image.open reads the markers by itself before libjpeg does, and refuses some that libjpeg takes and takes none that
    libjpeg refuses; so the bytes go to the codec at once.
    """
    try:
        return np.asarray(Image.frombytes(mode, size, data, "jpeg", mode, "", 8 // side, 0))
    except ValueError:
        return None


def taken_otherwise(ours, data):
    """Whether a damaged file is taken at any scale, and what is not as libjpeg-turbo has it."""
    *scales, rgb = ours.decode(data, *SIDES, "rgb")
    wrong = []

    def compare_with(theirs, found, what):
        if theirs is None:
            wrong.append(f"{what} taken, which libjpeg refuses")
        elif different := difference(found, theirs):
            wrong.append(f"{what} {different}")

    if rgb[0] is not None:
        pixels = as_pixels(*rgb)
        size, mode = pixels.shape[1::-1], "RGB" if pixels.ndim == 3 else "L"
        compare_with(libjpeg(data, size, mode), pixels, mode)
    for side, (words, samples) in zip(SIDES, scales):
        # Luma, if it is what libjpeg would make grey of.
        if words is not None and words[0] in ("YCbCr", "Grey") and words[1:3] == words[3:5]:
            plane = as_planes(words, samples)[0]
            compare_with(libjpeg(data, plane.shape[::-1], "L", side), plane, f"{side}/8")
    return any(words is not None for words, _ in scales), wrong


def damage(job):
    """What was taken otherwise of the damaged copies of one file, and how many were refused and taken."""
    program, name, data = job
    ours, found, refused, taken = Ours(program), [], 0, 0
    for kind, copies in DAMAGE:
        for at in range(len(data)):
            for number, copy in enumerate(copies(data, at)):
                if copy == data:
                    continue
                is_taken, wrong = taken_otherwise(ours, copy)
                if kind == "cut" and is_taken:
                    wrong.append("taken")
                refused, taken = refused + (not is_taken), taken + is_taken
                if wrong:
                    found.append(f"{name}: {kind} {number} at {at} of {len(data)}: {'; '.join(wrong)}")
    ours.close()
    return found, refused, taken


def damaged(program, turbo):
    """Ends with failure if a damaged file is taken, and not as libjpeg-turbo decodes it."""
    jobs = [(program, name, data) for name, data in to_damage(turbo)]
    wrong = refused = taken = 0
    with multiprocessing.Pool() as pool:
        for found, *counts in pool.imap_unordered(damage, jobs):
            print(*found, sep="\n", end="\n" * bool(found), flush=True)
            wrong, refused, taken = wrong + len(found), refused + counts[0], taken + counts[1]
    print(f"{len(jobs)} files, {refused} damaged copies refused, {taken} taken, {wrong} of them otherwise")
    sys.exit(bool(wrong))


def main():
    program, *folders = sys.argv[1:]
    turbo = Turbo(os.environ["TURBOJPEG"]) if "TURBOJPEG" in os.environ else None
    if folders == ["--damaged"]:
        damaged(program, turbo)
    ours, files, total, different = Ours(program), 0, 0, []
    for name, data in (*stored(folders), *written(turbo), *wild()):
        try:
            found, compared = compare(ours, turbo, data)
        except (OSError, SyntaxError) as error:  # What Pillow refuses.
            found, compared = [f"{type(error).__name__}: {error}"], 0
        files, total = files + 1, total + compared
        if found:
            different.append(name)
            print(name, *found, sep="\n    ")
    print(f"{files} files, {total} comparisons, {len(different)} files with differences")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
