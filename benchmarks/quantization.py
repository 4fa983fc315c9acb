"""What do bytes instead of floats, and a streamed solver, cost a Fisher-vector SVM in error?

Question  How many points of top-1 error does product quantization (8 values per byte) add to
          `vgg2012`, and how many does the streamed solver add?
Arms      `ARMS` below: floats solved exactly, bytes solved exactly, bytes streamed; all else equal.
Metric    Top-1 error on the test split with C fixed at 10, no flipped images and no tune split;
          paired differences from the first arm.
Rule      Streaming is good enough if it adds at most 0.5 points to the exact solver's error on the
          same bytes.

    python -m benchmarks.quantization [DATASET]      # default: digits
"""

from __future__ import annotations

import harness
from benchmarks.command_line import argument_parser
from benchmarks.study_runs import top1_error

SPEC = "vgg2012,components=64,c=10,flip=false"
ARMS = {
    "floats, exact": f"{SPEC},solver=exact,quantize=false",
    "bytes, exact": f"{SPEC},solver=exact,quantize=true",
    "bytes, streamed": f"{SPEC},solver=streamed,quantize=true",
}
MAX_ADDED_POINTS = 0.5


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("dataset", nargs="?", default="digits", help="spec or path")
    dataset = parser.parse_args().dataset
    results = [harness.run(spec, dataset, tune=0) for spec in ARMS.values()]
    print(harness.compare(*results))
    errors = [top1_error(result) for result in results]
    for name, error in zip(ARMS, errors, strict=True):
        print(f"{name:16} {error:6.2f} %   {error - errors[0]:+.2f} points")
    added = errors[2] - errors[1]
    print(
        f"streaming adds {added:+.2f} points to the exact solver's error on the same bytes "
        f"(allowed: {MAX_ADDED_POINTS})"
    )
    return int(added > MAX_ADDED_POINTS)


if __name__ == "__main__":
    raise SystemExit(main())
