"""Study: what do bytes in place of floats, and streaming in place of solving exactly, cost a Fisher-vector SVM?

Question       How many points of top-1 error does product quantization (8 values a byte) add to `vgg2012`, and how many the streamed solver?
Arms           `ARMS` below: floats solved exactly, bytes solved exactly, bytes streamed; everything else is the same.
Metric         top-1 error on the test split, C fixed at 10, no mirrored images, no tune split; paired differences against the first arm.
Decision rule  streaming is good enough when it adds 0.5 points or less to the exact solver's error on the same bytes.

    python -m benchmarks.quantization [DATASET]      # default: digits
"""

from __future__ import annotations

import argparse

from harness.comparison.compare import compare
from harness.engine.runner import run

SPEC = "vgg2012,components=64,c=10,flip=false"
ARMS = {
    "floats, exact": f"{SPEC},solver=exact,quantize=false",
    "bytes, exact": f"{SPEC},solver=exact,quantize=true",
    "bytes, streamed": f"{SPEC},solver=streamed,quantize=true",
}
MOST = 0.5  # points


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="digits", help="spec or path")
    dataset = parser.parse_args().dataset
    results = [run(spec, dataset, tune=0) for spec in ARMS.values()]
    print(compare(*results))
    errors = [result.top1_error for result in results if result.top1_error is not None]
    for name, error in zip(ARMS, errors, strict=True):
        print(f"{name:16} {error:6.2f} %   {error - errors[0]:+.2f} points")
    print(
        f"streaming adds {errors[2] - errors[1]:+.2f} points to the exact solver's error on the same bytes (at most {MOST} asked for)"
    )
    return int(errors[2] - errors[1] > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
