"""A test image as an inline picture."""

from __future__ import annotations

import base64
import io
from typing import Any

from markupsafe import Markup

from harness.data.split import Split
from harness.render.html import escape


def picture(split: Split, position: int, alt: str, side_px: int) -> Markup:
    """Return an image of a split, embedded in the page.

    Parameters
    ----------
    split : Split
    position : int
    alt : str
        Text for those who do not see it.
    side_px : int
        Largest width and height; images up to half of it are stored as PNG, others as JPEG.
    """
    from PIL import Image

    pixels = split.images.read(split.rows[[position]])[0].permute(1, 2, 0).contiguous().numpy()
    small = max(pixels.shape[:2]) <= side_px // 2
    image: Any = Image.fromarray(pixels)
    image.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if small else "JPEG", quality=85, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    opening = "<img class=small" if small else "<img"
    kind = "png" if small else "jpeg"
    return Markup(f'{opening} {size} src="data:image/{kind};base64,{data}" alt="{escape(alt)}">')
