"""VLFeat from numpy, for tests and benchmarks only: Debian's libvlfeat-dev behind vlfeat_driver.c, which gcc builds when first needed.

Images are float32 (n, height, width). Every function raises `Unavailable` with the reason where VLFeat or gcc lacks.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DRIVER = Path(__file__).with_name("vlfeat_driver.c")
FLAGS = ("-O3", "-fPIC", "-shared")
SQUARE_ROOT, NORMALIZED, FAST = 1, 2, 4  # vl_fisher's flags
IMPROVED = SQUARE_ROOT | NORMALIZED
VLAD_COMPONENTS, VLAD_ROOT = 1, 2  # vl_vlad's flags NormalizeComponents and SquareRoot


class Unavailable(Exception):
    """VLFeat cannot be used here, and why."""


@functools.cache
def library() -> ctypes.CDLL:
    """The driver, built for this version of its source unless it was before."""
    source = DRIVER.read_bytes()
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "before-after-harness"
    )
    built = folder / f"vlfeat-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not built.exists():
        gcc = shutil.which("gcc")
        if gcc is None:
            raise Unavailable("gcc is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            output = Path(scratch) / "driver.so"
            done = subprocess.run(
                [gcc, *FLAGS, str(DRIVER), "-o", str(output), "-lvl", "-lm"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise Unavailable(
                    f"vlfeat_driver.c does not build (is libvlfeat-dev installed?): {done.stderr.strip()[:500]}"
                )
            output.rename(built)
    try:
        driver = ctypes.CDLL(str(built))
    except OSError as error:
        raise Unavailable(f"the VLFeat driver does not load: {error}") from error
    driver.posteriors.restype = driver.gmm.restype = ctypes.c_double
    driver.set_threads(1)
    return driver


def unavailable() -> str | None:
    """Why VLFeat cannot be used here, or None where it can."""
    try:
        library()
    except Unavailable as reason:
        return str(reason)
    return None


def dsift(
    images: Floats,
    *,
    step: int,
    bin_size: int,
    first: int = 0,
    flat: bool = True,
    window: float = 1.5,
) -> tuple[Floats, Floats, Floats]:
    """`vl_dsift`: descriptors (n, m, 128) of length 1, contrasts (n, m), and the centers (m, 2) as x, y in pixels from 0.

    first  the row and column of the first bin's center
    flat   flat window (MATLAB's "fast"): bins weighted by the mean of a Gaussian of `window` bins over each
    """
    images = _floats(images)
    n, height, width = images.shape
    count = library().dsift_count(width, height, step, bin_size, first)
    outputs = _empty(n, count, 128), _empty(n, count), _empty(count, 2)
    library().dsift(
        _at(images),
        n,
        width,
        height,
        step,
        bin_size,
        first,
        int(flat),
        ctypes.c_double(window),
        *(_at(o) for o in outputs),
    )
    return outputs


def time_dsift(images: Floats, *, step: int, bin_size: int, first: int = 0) -> None:
    """What `dsift` computes, left in VLFeat's own buffers: its time without that of copying."""
    n, height, width = images.shape
    window = ctypes.c_double(1.5)
    library().dsift(
        _at(images), n, width, height, step, bin_size, first, 1, window, None, None, None
    )


def smooth(images: Floats, sigma: float) -> Floats:
    """`vl_imsmooth`: a Gaussian with standard deviation sigma in pixels, the image's edge repeated."""
    images = _floats(images)
    n, height, width = images.shape
    output = np.empty_like(images)
    library().smooth(_at(images), n, width, height, ctypes.c_double(sigma), _at(output))
    return output


def hog(images: Floats, *, cell: int, orientations: int = 9) -> Floats:
    """`vl_hog`, Dalal-Triggs variant: (n, channels, height, width) to (n, 4 * orientations, rows, columns)."""
    images = _floats(images)
    n, channels, height, width = images.shape
    output = _empty(n, 4 * orientations, (height + cell // 2) // cell, (width + cell // 2) // cell)
    library().hog(_at(images), n, channels, width, height, cell, orientations, _at(output))
    return output


def fisher(
    data: Floats, means: Floats, variances: Floats, priors: Floats, flags: int = 0
) -> Floats:
    """`vl_fisher`: data (n, count, d), means and variances (clusters, d), priors (clusters) to (n, 2 * clusters * d).

    All mean terms, then all variance terms. flags: any of SQUARE_ROOT, NORMALIZED (both: IMPROVED) and FAST, added.
    """
    data, means, variances, priors = (_floats(array) for array in (data, means, variances, priors))
    n, count, dimension = data.shape
    output = _empty(n, 2 * means.size)
    arguments = _at(means), _at(variances), _at(priors), len(means), flags, _at(output)
    library().fisher(_at(data), n, count, dimension, *arguments)
    return output


def posteriors(
    data: Floats, means: Floats, variances: Floats, priors: Floats
) -> tuple[Floats, float]:
    """Posteriors (count, clusters) of data (count, d) under a diagonal mixture, and the log-likelihood of all data together."""
    data, means, variances, priors = (_floats(array) for array in (data, means, variances, priors))
    output = _empty(len(data), len(means))
    arguments = _at(means), _at(variances), _at(priors), len(means), _at(output)
    return output, library().posteriors(_at(data), *data.shape, *arguments)


def gmm(
    data: Floats,
    means: Floats,
    variances: Floats,
    priors: Floats,
    *,
    iterations: int,
    least_variance: float = 1e-6,
) -> tuple[Floats, Floats, Floats, float]:
    """`vl_gmm` from these parameters on: the fitted means, variances and priors, and the log-likelihood."""
    data = _floats(data)
    means, variances, priors = (_floats(array).copy() for array in (means, variances, priors))
    arguments = (
        _at(means),
        _at(variances),
        _at(priors),
        len(means),
        iterations,
        ctypes.c_double(least_variance),
    )
    likelihood = library().gmm(_at(data), *data.shape, *arguments)
    return means, variances, priors, likelihood


def vlad(data: Floats, means: Floats, weights: Floats, flags: int = 0) -> Floats:
    """`vl_vlad`: data (n, count, d), means (clusters, d), weights (n, count, clusters) to (n, clusters * d) of length 1.

    flags: any of VLAD_COMPONENTS and VLAD_ROOT, added.
    """
    data, means, weights = (_floats(array) for array in (data, means, weights))
    n, count, dimension = data.shape
    output = _empty(n, means.size)
    library().vlad(
        _at(data), n, count, dimension, _at(means), _at(weights), len(means), flags, _at(output)
    )
    return output


def chi2_map(values: Floats, *, order: int, gamma: float) -> Floats:
    """`vl_homkermap` for the chi2 kernel, with its defaults: values (count,) to (count, 2 * order + 1)."""
    values = _floats(values)
    output = _empty(len(values), 2 * order + 1)
    library().chi2_map(_at(values), len(values), order, ctypes.c_double(gamma), _at(output))
    return output


def _floats(array: Floats) -> Floats:
    return np.ascontiguousarray(array, dtype=np.float32)


def _empty(*shape: int) -> Floats:
    return np.empty(shape, dtype=np.float32)


def _at(array: Floats) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
