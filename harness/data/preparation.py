"""How the stored pixels of an image are made from its source bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.data.arrow_shards import Row
from harness.data.conversion import follows_rule
from harness.data.decode import Undecodable, decode_and_inspect, encode_jpeg, shrink
from harness.data.identity import HASH_DIGITS
from harness.data.prepared_dataset import CONVERSION
from harness.data.sources import SourceImage

JPEG_QUALITY = 95


@dataclass(frozen=True)
class PreparedImage:
    """One prepared image.

    Attributes
    ----------
    source : SourceImage
    row : Row
    undecodable : str
        Why it could not be decoded; empty if it could.
    unusual : list of str
        What is unusual about it.
    """

    source: SourceImage
    row: Row
    undecodable: str = ""
    unusual: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Preparation:
    """A size and a codec.

    Parameters
    ----------
    size : int
        Upper limit of the shorter side, in pixels.
    raw : bool
        Whether pixels are stored lossless; else as JPEG.
    """

    size: int
    raw: bool

    def line(self, descriptions: Iterable[str]) -> str:
        """Return the line that goes into the digest of images of which this is unusual."""
        return f"{self} {CONVERSION}" if any(map(follows_rule, descriptions)) else str(self)

    def __str__(self) -> str:
        codec = "codec=raw quality=lossless" if self.raw else f"codec=jpeg quality={JPEG_QUALITY}"
        return f"size={self.size} resize=shorter-side-bilinear-antialias {codec}"

    def apply(self, image: SourceImage, data: bytes | Undecodable) -> PreparedImage:
        """Decode, shrink and encode an image.

        Parameters
        ----------
        image : SourceImage
        data : bytes or Undecodable
            Its source bytes, or why they cannot be read.
        """
        key = hashlib.sha256(data if isinstance(data, bytes) else b"").hexdigest()[:HASH_DIGITS]
        try:
            if isinstance(data, Undecodable):
                raise data
            pixels, unusual = decode_and_inspect(data, image.name)
        except Undecodable as error:
            row = Row(key, image.label, image.name, height=0, width=0, image=b"")
            return PreparedImage(image, row, undecodable=str(error))
        pixels = shrink(pixels, self.size)
        if self.raw:
            stored = pixels.permute(1, 2, 0).contiguous().numpy().tobytes()
        else:
            stored = encode_jpeg(pixels, JPEG_QUALITY)
        height, width = pixels.shape[1:]
        row = Row(key, image.label, image.name, height, width, stored)
        return PreparedImage(image, row, unusual=unusual)


def read_or_explain(image: SourceImage) -> bytes | Undecodable:
    """Return the source bytes of an image, or why they cannot be read."""
    try:
        return image.read()
    except Undecodable as error:
        return error
