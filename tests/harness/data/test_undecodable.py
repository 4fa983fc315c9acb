"""What a file is that is no image, said to its owner."""

from __future__ import annotations

import pytest

from harness.data.decode import Undecodable, decode, decode_and_inspect
from harness.data.undecodable import describe_file

FILES = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n": "git-lfs pointer",
    b"/annex/objects/SHA256E-s12--00.jpg\n": "git-annex pointer",
    b"\n<!DOCTYPE html><html lang=en>": "web page (HTML)",
    b"<html>not found</html>": "web page (HTML)",
    "\ufeff<html>".encode("utf-16-le"): "web page (HTML)",
    b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">': "an SVG drawing",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "an XML document",
    b'{"message": "rate limit exceeded"}': "a JSON document",
    b"[not JSON": "a text",
    "Übergröße".encode("latin-1"): "a text",
    b"BMW and MZ are brands": "a text",
    b"%PDF-1.7\n": "a PDF document",
    b"%!PS-Adobe-3.0 EPSF-3.0\n": "a PostScript file",
    b"\xc5\xd0\xd3\xc6\x1e\0\0\0": "a PostScript file",
    b"8BPS\0\1": "a Photoshop file",
    b"PK\3\4\x14\0": "a zip archive",
    b"\x1f\x8b\x08\0": "a gzip file",
    b"./a.jpg" + bytes(250) + b"ustar\x0000": "a tar archive",
    b"\0\0\0\x18ftypheic\0\0\0\0": "a HEIC image",
    b"\0\0\0\x1cftypavif\0\0\0\0": "an AVIF image",
    b"\0\0\0\x18ftypcrx \0\0\0\0": "a raw photograph",
    b"II*\0\x10\0\0\0CR\2\0": "a raw photograph",
    b"\0\0\0\x18ftypisom\0\0\0\0": "an MP4 video",
    b"\0\0\0\x14ftypqt  \0\0\0\0": "a QuickTime video",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 image",
    b"\1" + bytes(127) + b"DICM": "a DICOM file",
    b"\0\5\x16\7\0\2\0\0": "an AppleDouble file",
    b"": "the file is empty",
    bytes(1000): "only zeros",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0": "a JPEG file, but damaged",
    b"\x89PNG\r\n\x1a\n": "a PNG file, but damaged",
    b"P6\n3 x": "a PPM file, but damaged",
    bytes(range(1, 200)): "none of BMP, GIF, JPEG, PNG, PPM, TIFF and WebP",
}


@pytest.mark.parametrize(("data", "words"), FILES.items(), ids=range(len(FILES)))
def test_a_file_that_is_no_image_is_called_what_it_is(data: bytes, words: str) -> None:
    assert words in describe_file(data)
    for read in (decode, decode_and_inspect):
        with pytest.raises(Undecodable) as caught:
            read(data)
        assert words in str(caught.value)
        assert "0x" not in str(caught.value)


def test_a_deeply_nested_text_is_described() -> None:
    assert "a text" in describe_file(b"[" * 100_000)
