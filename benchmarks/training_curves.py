"""Draw the curves of finished runs: top-1 error on train and tune by epoch, and a run without epochs as a line across.

python -m benchmarks.curves RUN... -o curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import UserError
from harness.report.pictures import DOTS_PER_INCH, plot_errors
from harness.runs.run_store import RunStore
from harness.settings import load_settings


def main() -> None:
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    try:
        runs = RunStore(load_settings().runs)
        results = [runs.find(run).result for run in arguments.runs]
    except UserError as error:
        parser.error(str(error))
    figure = Figure(figsize=(7, 4), layout="constrained")
    plot_errors(figure.add_subplot(xlabel="epoch"), results)
    figure.savefig(arguments.output, dpi=DOTS_PER_INCH)


if __name__ == "__main__":
    main()
