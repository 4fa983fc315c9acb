"""VLFeat's functions on numpy arrays, for tests and benchmarks only.

They call Debian's libvlfeat-dev through vlfeat_driver.c, which gcc compiles on first use. Images
are float32 (n, height, width). Every function raises `Unavailable` if VLFeat or gcc is missing.
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
    """Why VLFeat cannot be used on this machine."""


@functools.cache
def library() -> ctypes.CDLL:
    """Return the driver, compiled unless this version of its source already was."""
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
            _compile(gcc, output)
            output.rename(built)
    try:
        driver = ctypes.CDLL(str(built))
    except OSError as error:
        raise Unavailable(f"the VLFeat driver does not load: {error}") from error
    driver.posteriors.restype = driver.gmm.restype = ctypes.c_double
    driver.set_threads(1)
    return driver


def _compile(gcc: str, output: Path) -> None:
    command = [gcc, *FLAGS, str(DRIVER), "-o", str(output), "-lvl", "-lm"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode:
        raise Unavailable(
            "vlfeat_driver.c does not compile (is libvlfeat-dev installed?): "
            f"{completed.stderr.strip()[:500]}"
        )


def unavailable() -> str | None:
    """Return why VLFeat cannot be used on this machine, or None if it can."""
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
    """Compute dense SIFT with `vl_dsift`.

    Parameters
    ----------
    images : (n, height, width) float32
    step, bin_size : int
        Pixels.
    first : int
        Row and column of the first bin's center.
    flat : bool
        Flat window (MATLAB's "fast"): each bin has the mean weight of a Gaussian over it.
    window : float
        Standard deviation of that Gaussian, in bins.

    Returns
    -------
    descriptors : (n, m, 128) float32
        Each has length 1.
    contrasts : (n, m) float32
    centers : (m, 2) float32
        As x, y in pixels from 0.
    """
    images = _as_float32(images)
    n, height, width = images.shape
    count = library().dsift_count(width, height, step, bin_size, first)
    outputs = _empty(n, count, 128), _empty(n, count), _empty(count, 2)
    library().dsift(
        _pointer(images),
        n,
        width,
        height,
        step,
        bin_size,
        first,
        int(flat),
        ctypes.c_double(window),
        *(_pointer(output) for output in outputs),
    )
    return outputs


def time_dsift(images: Floats, *, step: int, bin_size: int, first: int = 0) -> None:
    """Compute what `dsift` does without copying it from VLFeat's buffers, for timing."""
    n, height, width = images.shape
    window = ctypes.c_double(1.5)
    library().dsift(
        _pointer(images), n, width, height, step, bin_size, first, 1, window, None, None, None
    )


def smooth(images: Floats, sigma: float) -> Floats:
    """Blur with `vl_imsmooth`: a Gaussian of `sigma` pixels, with the image's edge repeated."""
    images = _as_float32(images)
    n, height, width = images.shape
    output = np.empty_like(images)
    library().smooth(_pointer(images), n, width, height, ctypes.c_double(sigma), _pointer(output))
    return output


def hog(images: Floats, *, cell: int, orientations: int = 9) -> Floats:
    """Compute HOG with `vl_hog`, Dalal-Triggs variant.

    Parameters
    ----------
    images : (n, channels, height, width) float32
    cell : int
        Pixels.

    Returns
    -------
    (n, 4 * orientations, rows, columns) float32
    """
    images = _as_float32(images)
    n, channels, height, width = images.shape
    output = _empty(n, 4 * orientations, (height + cell // 2) // cell, (width + cell // 2) // cell)
    library().hog(
        _pointer(images), n, channels, width, height, cell, orientations, _pointer(output)
    )
    return output


def fisher(
    data: Floats, means: Floats, variances: Floats, priors: Floats, flags: int = 0
) -> Floats:
    """Compute Fisher vectors with `vl_fisher`.

    Parameters
    ----------
    data : (n, count, d) float32
    means, variances : (clusters, d) float32
    priors : (clusters,) float32
    flags : int
        Sum of any of SQUARE_ROOT, NORMALIZED (both: IMPROVED) and FAST.

    Returns
    -------
    (n, 2 * clusters * d) float32
        All mean terms, then all variance terms.
    """
    data, means, variances, priors = (
        _as_float32(array) for array in (data, means, variances, priors)
    )
    n, count, dimension = data.shape
    output = _empty(n, 2 * means.size)
    arguments = (
        _pointer(means),
        _pointer(variances),
        _pointer(priors),
        len(means),
        flags,
        _pointer(output),
    )
    library().fisher(_pointer(data), n, count, dimension, *arguments)
    return output


def posteriors(
    data: Floats, means: Floats, variances: Floats, priors: Floats
) -> tuple[Floats, float]:
    """Return posteriors under a diagonal mixture, and the log-likelihood of all data together.

    Parameters
    ----------
    data : (count, d) float32
    means, variances : (clusters, d) float32
    priors : (clusters,) float32

    Returns
    -------
    posteriors : (count, clusters) float32
    log_likelihood : float
    """
    data, means, variances, priors = (
        _as_float32(array) for array in (data, means, variances, priors)
    )
    output = _empty(len(data), len(means))
    arguments = _pointer(means), _pointer(variances), _pointer(priors), len(means), _pointer(output)
    return output, library().posteriors(_pointer(data), *data.shape, *arguments)


def gmm(
    data: Floats,
    means: Floats,
    variances: Floats,
    priors: Floats,
    *,
    iterations: int,
    min_variance: float = 1e-6,
) -> tuple[Floats, Floats, Floats, float]:
    """Fit a mixture with `vl_gmm`, starting from these parameters.

    Returns
    -------
    means, variances : (clusters, d) float32
    priors : (clusters,) float32
    log_likelihood : float
    """
    data = _as_float32(data)
    means, variances, priors = (_as_float32(array).copy() for array in (means, variances, priors))
    arguments = (
        _pointer(means),
        _pointer(variances),
        _pointer(priors),
        len(means),
        iterations,
        ctypes.c_double(min_variance),
    )
    likelihood = library().gmm(_pointer(data), *data.shape, *arguments)
    return means, variances, priors, likelihood


def vlad(data: Floats, means: Floats, weights: Floats, flags: int = 0) -> Floats:
    """Compute VLAD with `vl_vlad`.

    Parameters
    ----------
    data : (n, count, d) float32
    means : (clusters, d) float32
    weights : (n, count, clusters) float32
        Weight of each cluster for each descriptor.
    flags : int
        Sum of any of VLAD_COMPONENTS and VLAD_ROOT.

    Returns
    -------
    (n, clusters * d) float32
        Each has length 1.
    """
    data, means, weights = (_as_float32(array) for array in (data, means, weights))
    n, count, dimension = data.shape
    output = _empty(n, means.size)
    library().vlad(
        _pointer(data),
        n,
        count,
        dimension,
        _pointer(means),
        _pointer(weights),
        len(means),
        flags,
        _pointer(output),
    )
    return output


def chi2_map(values: Floats, *, order: int, gamma: float) -> Floats:
    """Map values (count,) to (count, 2 * order + 1) with `vl_homkermap` for the chi2 kernel."""
    values = _as_float32(values)
    output = _empty(len(values), 2 * order + 1)
    library().chi2_map(
        _pointer(values), len(values), order, ctypes.c_double(gamma), _pointer(output)
    )
    return output


def _as_float32(array: Floats) -> Floats:
    return np.ascontiguousarray(array, dtype=np.float32)


def _empty(*shape: int) -> Floats:
    return np.empty(shape, dtype=np.float32)


def _pointer(array: Floats) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
