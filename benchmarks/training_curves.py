"""Draw the training curves of finished runs: top-1 error on train and tune by epoch.

A run without epochs is drawn as a horizontal line.

    python -m benchmarks.training_curves RUN... -o curves.png
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.command_line import argument_parser
from harness.errors import UserError
from harness.report.pictures import DOTS_PER_INCH, plot_errors
from harness.runs.run_store import RunStore
from harness.workspace import Workspace


def main() -> None:
    from matplotlib.figure import Figure

    parser = argument_parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="ids of finished runs")
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    try:
        store = RunStore(Workspace.open().runs_folder)
        results = [store.find(run_id).result for run_id in arguments.runs]
    except UserError as error:
        parser.error(str(error))
    figure = Figure(figsize=(7, 4), layout="constrained")
    plot_errors(figure.add_subplot(xlabel="epoch"), results)
    figure.savefig(arguments.output, dpi=DOTS_PER_INCH)


if __name__ == "__main__":
    main()
