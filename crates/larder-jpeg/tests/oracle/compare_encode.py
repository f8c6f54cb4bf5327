#!/usr/bin/env python3
"""Compares files that this crate writes with those of libjpeg-turbo, byte for byte.

    cargo build --release --example encode
    python tests/oracle/compare_encode.py target/release/examples/encode [PHOTO...]

Needs Pillow and numpy; encodes pictures of many sizes in every sampling, quality and kind of tables, and the
photos given. With --golden it prints the digests that tests/encode.rs holds.
"""
import io
import itertools
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageFile

Image.MAX_IMAGE_PIXELS = None
# Pillow gives libjpeg one buffer, which must hold a whole file with tables of its own.
ImageFile.MAXBLOCK = 1 << 27
SAMPLINGS = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}
SIZES = [(1, 1), (2, 1), (1, 2), (7, 9), (8, 8), (9, 8), (15, 17), (16, 16), (17, 33), (24, 40), (63, 65),
         (129, 130), (640, 480)]
QUALITIES = [1, 30, 50, 75, 85, 95, 100]


def pictures(width, height):
    rng = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width]
    yield "noise", rng.integers(0, 256, (height, width, 3), np.uint8)
    yield "extremes", rng.integers(0, 2, (height, width, 3), np.uint8) * 255
    yield "gradient", np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) % 256],
                               -1).astype(np.uint8)
    waves = np.stack([np.sin(x / 9 + c) * 80 + np.cos(y / (5 + c)) * 60 for c in range(3)], -1)
    yield "waves", np.clip(128 + waves + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)
    yield "flat", np.full((height, width, 3), (200, 30, 90), np.uint8)


def theirs(pixels, mode, sampling, quality, optimal, profile=None):
    out = io.BytesIO()
    more = {} if mode == "L" else {"subsampling": SAMPLINGS[sampling]}
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.save(out, "JPEG", quality=quality, optimize=optimal, icc_profile=profile, **more)
    return out.getvalue()


def ours(program, samples, size, kind, sampling, quality, optimal, profile=None):
    with tempfile.NamedTemporaryFile() as raw, tempfile.NamedTemporaryFile() as icc:
        raw.write(samples)
        raw.flush()
        icc.write(profile or b"")
        icc.flush()
        run = subprocess.run(
            [program, raw.name, *map(str, size), kind, sampling, str(quality),
             "optimal" if optimal else "standard", *([icc.name] if profile else [])], capture_output=True)
    return run.stdout if run.returncode == 0 else run.stderr


def halved(plane, sampling):
    """Every second sample of what was doubled."""
    return plane[::2 if sampling == "420" else 1, ::1 if sampling == "444" else 2]


def doubled(pixels, sampling):
    """Colour differences that are the same for all pixels that share them, so that scaling keeps them."""
    pixels = pixels.copy()
    height, width = pixels.shape[:2]
    for channel in (1, 2):
        small = halved(pixels[..., channel], sampling)
        for axis, times in ((0, 2 if sampling == "420" else 1), (1, 1 if sampling == "444" else 2)):
            small = np.repeat(small, times, axis)
        pixels[..., channel] = small[:height, :width]
    return pixels


def planes(pixels, sampling):
    parts = [pixels[..., 0], *(halved(pixels[..., c], sampling) for c in (1, 2))]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def cases(size, pixels, quality, optimal):
    """Kind, sampling, our samples, their pixels and mode."""
    grey = np.ascontiguousarray(pixels[..., 1])
    yield "grey", "444", grey.tobytes(), grey, "L"
    for sampling in SAMPLINGS:
        yield "rgb", sampling, pixels.tobytes(), pixels, "RGB"
        same = doubled(pixels, sampling)
        yield "ycc", sampling, planes(same, sampling), same, "YCbCr"


def golden():
    """The picture and the digest of tests/encode.rs."""
    width, height = 83, 61
    y, x = np.mgrid[0:height, 0:width]
    channels = [(x * 3 + y * y // 7) % 256, (x * y // 5 + 40) % 256, (x * x // 9 + y * 2) % 256]
    pixels = np.stack(channels, -1).astype(np.uint8)

    def digest(data):
        state = 0xCBF29CE484222325
        for byte in data:
            state = (state ^ byte) * 0x100000001B3 % 2**64
        return state

    for optimal, quality in itertools.product((True, False), (40, 92)):
        grey = np.ascontiguousarray(pixels[..., 0])
        rows = [theirs(grey, "L", None, quality, optimal)]
        rows += [theirs(pixels, "RGB", sampling, quality, optimal) for sampling in SAMPLINGS]
        print(f"({quality}, {str(optimal).lower()}): {', '.join(f'0x{digest(row):016X}' for row in rows)}")


def main():
    if sys.argv[1:] == ["--golden"]:
        return golden()
    program, *photos = sys.argv[1:]
    count, different = 0, 0

    def compare(name, samples, size, kind, sampling, pixels, mode, quality, optimal, profile=None):
        nonlocal count, different
        count += 1
        found = ours(program, samples, size, kind, sampling, quality, optimal, profile)
        expected = theirs(pixels, mode, sampling, quality, optimal, profile)
        if found != expected:
            different += 1
            at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), -1)
            print(f"{name} {size} {kind} {sampling} q{quality} optimal={optimal}: {len(found)} bytes, not "
                  f"{len(expected)}, different from {at}: {found[at:at + 60]}")

    for size in SIZES:
        for name, pixels in pictures(*size):
            for quality, optimal in itertools.product(QUALITIES, (True, False)):
                for kind, sampling, samples, same, mode in cases(size, pixels, quality, optimal):
                    compare(name, samples, size, kind, sampling, same, mode, quality, optimal)
    for length in (500, 65519, 65520, 200_000):
        pixels = np.full((9, 9, 3), 77, np.uint8)
        compare(f"profile of {length}", pixels.tobytes(), (9, 9), "rgb", "420", pixels, "RGB", 85, True,
                bytes(range(250)) * (length // 250) + bytes(length % 250))
    for photo in photos:
        with Image.open(photo) as image:
            pixels = np.asarray(image.convert("RGB"))
        size = pixels.shape[1], pixels.shape[0]
        for sampling, quality, optimal in itertools.product(SAMPLINGS, (85, 98), (True, False)):
            compare(photo, pixels.tobytes(), size, "rgb", sampling, pixels, "RGB", quality, optimal)
    print(f"{count} files, {different} different")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
