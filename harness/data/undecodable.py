"""Why a file is not an image: what its first bytes say that it is, in words for its owner."""

from __future__ import annotations

import codecs
import json
import re

SAMPLE_BYTES = 512  # of a file that is none of the known formats, to see whether it is text
CONVERT = "convert it to PNG or JPEG"
DAMAGED = "but damaged or of a kind that is not read"
READ_FORMATS = "BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"
# (position, first bytes, what the file is); a longer beginning before a shorter one
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    # formats that are read, so that the file is damaged or of a rare kind
    (0, b"\xff\xd8", f"a JPEG file, {DAMAGED}"),
    (0, b"\x89PNG", f"a PNG file, {DAMAGED}"),
    (0, b"GIF8", f"a GIF file, {DAMAGED}"),
    (0, b"BM", f"a BMP file, {DAMAGED}"),
    (8, b"WEBP", f"a WebP file, {DAMAGED}"),
    (8, b"CR\x02", f"a raw photograph of a camera (CR2): {CONVERT}"),
    (0, b"II*\0", f"a TIFF file, {DAMAGED}"),
    (0, b"MM\0*", f"a TIFF file, {DAMAGED}"),
    (0, b"II+\0", f"a TIFF file, {DAMAGED}"),
    (0, b"MM\0+", f"a TIFF file, {DAMAGED}"),
    # other images
    (4, b"ftypavi", f"an AVIF image, which is not read: {CONVERT}"),
    (4, b"ftyphei", f"a HEIC image, which is not read: {CONVERT}"),
    (4, b"ftyphev", f"a HEIC image, which is not read: {CONVERT}"),
    (4, b"ftypmif1", f"a HEIC image, which is not read: {CONVERT}"),
    (4, b"ftypmsf1", f"a HEIC image, which is not read: {CONVERT}"),
    (4, b"ftypcrx", f"a raw photograph of a camera (CR3): {CONVERT}"),
    (0, b"FUJIFILMCCD-RAW", f"a raw photograph of a camera (RAF): {CONVERT}"),
    (0, b"IIRO", f"a raw photograph of a camera (ORF): {CONVERT}"),
    (0, b"IIU\0", f"a raw photograph of a camera (RW2): {CONVERT}"),
    (4, b"jP  \r\n", f"a JPEG 2000 image, which is not read: {CONVERT}"),
    (0, b"\xff\x4f\xff\x51", f"a JPEG 2000 image, which is not read: {CONVERT}"),
    (4, b"JXL \r\n", f"a JPEG XL image, which is not read: {CONVERT}"),
    (0, b"\xff\x0a", f"a JPEG XL image, which is not read: {CONVERT}"),
    (128, b"DICM", f"a DICOM file, which is not read: {CONVERT}"),
    (0, b"8BPS", f"a Photoshop file (PSD), which is not read: {CONVERT}"),
    (0, b"gimp xcf", f"a GIMP file (XCF), which is not read: {CONVERT}"),
    (0, b"\0\0\1\0", f"an icon (ICO), which is not read: {CONVERT}"),
    (0, b"DDS ", f"a DirectDraw surface (DDS), which is not read: {CONVERT}"),
    (0, b"v/1\1", f"an OpenEXR image, which is not read: {CONVERT}"),
    (0, b"#?RADIANCE", f"a Radiance HDR image, which is not read: {CONVERT}"),
    (0, b"SIMPLE  =", f"a FITS file, which is not read: {CONVERT}"),
    (0, b"qoif", f"a QOI image, which is not read: {CONVERT}"),
    # documents
    (0, b"%!PS", f"a PostScript file, which is not read: {CONVERT}"),
    (0, b"\xc5\xd0\xd3\xc6", f"a PostScript file, which is not read: {CONVERT}"),
    (0, b"%PDF", f"a PDF document, which is not read: {CONVERT}"),
    # archives
    (0, b"PK\3\4", "a zip archive: unpack it"),
    (0, b"\x1f\x8b", "a gzip file: unpack it"),
    (0, b"BZh", "a bzip2 file: unpack it"),
    (0, b"\xfd7zXZ\0", "an xz file: unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file: unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (0, b"Rar!", "a RAR archive: unpack it"),
    (257, b"ustar", "a tar archive: unpack it"),
    # videos and sound
    (4, b"ftypqt", "a QuickTime video, not an image"),
    (4, b"moov", "a QuickTime video, not an image"),
    (4, b"ftyp", "an MP4 video, not an image"),
    (8, b"AVI ", "an AVI video, not an image"),
    (8, b"WAVE", "a sound file (WAV), not an image"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video, not an image"),
    (0, b"\0\0\1\xba", "an MPEG video, not an image"),
    (0, b"\0\0\1\xb3", "an MPEG video, not an image"),
    (0, b"ID3", "a sound file (MP3), not an image"),
    # data
    (0, b"\0\5\x16\7", "an AppleDouble file, which macOS leaves beside an image"),
    (0, b"bplist00", "a property list of macOS, such as iCloud leaves in place of a file"),
    (0, b"\x93NUMPY", "a NumPy array, not an image"),
    (0, b"\x89HDF", "an HDF5 file, not an image"),
    (0, b"MATLAB 5", "a MATLAB file, not an image"),
    (0, b"PAR1", "a parquet file, not an image"),
    (0, b"SQLite format 3", "an SQLite database, such as Thumbs.db, not an image"),
    (0, b"\xd0\xcf\x11\xe0", "a Windows thumbnail or Office file, not an image"),
    (0, b"\x7fELF", "a program, not an image"),
    (0, b"MZ", "a program, not an image"),
)
LFS_POINTER = re.compile(rb"version https://(git-lfs\.github\.com|hawser\.github\.com)/spec/")
UNREADABLE = "it cannot be read"  # by the system's own words, which follow
PPM = re.compile(rb"P[1-7Ff]\s")
SVG = re.compile(r"<svg[\s>]")
HTML = re.compile(r"<(!doctype html|html|head|body|title|script)\b")


class Undecodable(Exception):
    """No image can be read from these bytes; the message says why."""


def describe_file(data: bytes) -> str:
    """Return what a file is that is no image, as a sentence about `it`, for its owner."""
    if not data:
        return "the file is empty"
    if not data.strip(b"\0"):
        return "the file holds only zeros, as after a crash or a download that was cut off"
    text = _as_text(data[:SAMPLE_BYTES])
    for position, beginning, description in SIGNATURES:
        # a text may begin with two or three of these letters
        if data.startswith(beginning, position) and (text is None or len(beginning) > 3):
            return f"it is {description}"
    if PPM.match(data):
        return f"it is a PPM file, {DAMAGED}"
    if text is not None:
        return f"it is {_describe_text(data, text)}"
    return f"its content is none of {READ_FORMATS}"


def _describe_text(data: bytes, sample: str) -> str:
    start = sample.lstrip().lower()
    if LFS_POINTER.match(data):
        return "a git-lfs pointer, not the image: run `git lfs pull` where it was cloned"
    if "/annex/objects/" in start:
        return "a git-annex pointer, not the image: run `git annex get` where it was cloned"
    if HTML.search(start):
        return "a web page (HTML), as servers send in place of a file: download it again"
    if SVG.search(start):
        return f"an SVG drawing, which is not read: {CONVERT}"
    if start.startswith("<?xml"):
        return "an XML document, not an image"
    if start.startswith(("{", "[")) and _is_json(data):
        return "a JSON document, not an image"
    return "a text, not an image"


def _as_text(sample: bytes) -> str | None:
    """Return the sample as text; None if it is binary."""
    is_utf16 = sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = sample.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")
    is_binary = any(character < " " and character not in "\t\n\r\f" for character in text)
    return None if is_binary else text


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
