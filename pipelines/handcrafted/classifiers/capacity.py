"""What fitting one-vs-rest SVMs takes, reckoned before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.handcrafted.classifiers.linear_svm import classes_at_a_time
from pipelines.handcrafted.classifiers.newton_cg import WORKING_ARRAYS
from pipelines.handcrafted.classifiers.row_stream import BLOCK_ROWS
from pipelines.handcrafted.classifiers.streamed_solvers import DUAL_DTYPE, SHUFFLED_CHUNKS
from pipelines.handcrafted.features import CHUNK_IMAGES

VALUE_BYTES = 4
EXACT_FIXED_BYTES = 48 * 10**6  # what the allocator keeps of arrays of rows x classes
PRIMAL_MATRIX_BYTES = 2 * 4  # per entry: the Gram matrix and a factor in float32
DUAL_MATRIX_BYTES = 3 * 8  # per entry: the Gram matrix, its transpose and the factor in float64
KEPT_MODELS = 5  # values of C that are tried, usually; the weights of all are kept
CG_VECTORS = 8  # of conjugate gradients, as long as the weights
STORED_BYTES = 2  # per feature in half precision
SHUFFLED_COPIES = 2  # of the chunks whose rows are mixed
BLOCK_COPIES = 2  # of a block of rows and of its arrays of rows x classes


@dataclass(frozen=True)
class FitSize:
    """The size of a fit.

    Parameters
    ----------
    rows
        Over all processes, with the flipped images and the tune split.
    classes
    features
        Values per row.
    processes
    """

    rows: int
    classes: int
    features: int
    processes: int = 1


def exact_memory_bytes(size: FitSize) -> int:
    """Return about the memory that an exact fit adds to each process at the most.

    It holds the rows of the process, two or three matrices of the smaller of rows and features
    squared (`linear_svm.Primal` and `Dual`), the arrays of rows x classes of as many classes as
    are fitted at a time, and the weights.
    """
    rows = size.rows / size.processes
    classes = min(size.classes, classes_at_a_time(rows))
    if size.rows > size.features:
        matrices = PRIMAL_MATRIX_BYTES * (size.features + 1) ** 2
    else:
        matrices = DUAL_MATRIX_BYTES * size.rows**2
    working = WORKING_ARRAYS * rows * classes
    weights = (KEPT_MODELS * size.classes + CG_VECTORS * classes) * size.features
    return int(
        EXACT_FIXED_BYTES + matrices + VALUE_BYTES * (rows * size.features + working + weights)
    )


def streamed_memory_bytes(size: FitSize) -> int:
    """Return about the memory that a streamed fit adds to each process at the most.

    It holds the dual variables of the classes of the process, the weights of all classes, and the
    chunks of rows that are mixed.
    """
    duals = DUAL_DTYPE.itemsize * size.rows * size.classes / size.processes
    shuffled_rows = min(SHUFFLED_CHUNKS * CHUNK_IMAGES, size.rows)
    chunks = SHUFFLED_COPIES * STORED_BYTES * shuffled_rows * size.features
    weights = (KEPT_MODELS + 1) * size.classes * size.features
    block = BLOCK_COPIES * BLOCK_ROWS * (size.features + size.classes)
    return int(duals + chunks + VALUE_BYTES * (weights + block))
