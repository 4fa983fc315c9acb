"""A test image as an inline picture."""

from __future__ import annotations

import base64
import io
from typing import Any

from harness.data.split import Split
from harness.render.html import Html, escaped


def picture(split: Split, position: int, alt: str, side: int) -> Html:
    """An image of a split, at most `side` pixels wide and high, in the page itself: small ones lossless, others as JPEG."""
    from PIL import Image

    pixels = split.images.read(split.rows[[position]])[0].permute(1, 2, 0).contiguous().numpy()
    small = max(pixels.shape[:2]) <= side // 2
    image: Any = Image.fromarray(pixels)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if small else "JPEG", quality=85, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    kind = "png" if small else "jpeg"
    return Html(
        f'<img{" class=small" if small else ""} {size} src="data:image/{kind};base64,{data}" alt="{escaped(alt)}">'
    )
