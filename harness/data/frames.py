"""The number of frames of an image file, read from its structure without decoding a frame.

Pillow decodes or searches what it has seen for each frame: a file of 100,000 frames takes minutes.
"""

from __future__ import annotations

import struct

from PIL import Image

MAX_FRAMES = 1000
GIF_IMAGE, GIF_EXTENSION = 0x2C, 0x21
BIG_TIFF = 43


def count_frames(image: Image.Image, data: bytes) -> int:
    """Return the number of frames or pages, or MAX_FRAMES + 1 if there are more.

    The two pictures of MPO, of which cameras show one, count as one.
    """
    if image.format == "GIF":
        return _gif_frames(data)
    if image.format == "TIFF":
        return _tiff_frames(data)
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _gif_frames(data: bytes) -> int:
    """Count the image blocks of a GIF file, up to where it is damaged or cut off."""
    frames, position = 0, 13 + _color_table_bytes(data[10])
    try:
        while frames <= MAX_FRAMES:
            if data[position] == GIF_IMAGE:
                frames += 1
                position += 11 + _color_table_bytes(data[position + 9])
            elif data[position] == GIF_EXTENSION:
                position += 2
            else:
                break
            while data[position]:  # the length of a part; 0 ends the block
                position += data[position] + 1
            position += 1
    except IndexError:
        pass
    return frames


def _color_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _tiff_frames(data: bytes) -> int:
    """Count the directories of a TIFF file, up to where the chain is damaged or returns."""
    order = "<" if data.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    is_big = version == BIG_TIFF
    pointer, count, entry_bytes = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    (position,) = struct.unpack_from(order + pointer, data, 8 if is_big else 4)
    seen: set[int] = set()
    try:
        while position and position not in seen and len(seen) <= MAX_FRAMES:
            (entries,) = struct.unpack_from(order + count, data, position)
            seen.add(position)
            end = position + struct.calcsize(count) + entries * entry_bytes
            (position,) = struct.unpack_from(order + pointer, data, end)
    except struct.error:
        pass
    return len(seen)
