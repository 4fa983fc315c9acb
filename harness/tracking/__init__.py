"""The one place that knows MLflow: it writes finished run folders to the tracking store and gives the links to look at them.

The run folder is the record and MLflow its mirror. So `track` may be called again for a run (the same MLflow run is filled in
again, never a second one), and whatever goes wrong here leaves as a UserError of one sentence that the caller may show and pass
over. mlflow takes seconds to import and is imported inside functions only.

    store      reaching the store; what is wrong when it cannot be        contents   what a run shows
    send       a run's record, written there                              nesting    the run above the runs of several seeds
    attach     a file, such as a report, beside the runs it is about
    synchronize  all records that are not there yet                       addresses  where to look at them; saved_view: the table and the charts
"""

from harness.tracking.addresses import Links, compare_link, links
from harness.tracking.attach import attach
from harness.tracking.send import track, track_failure
from harness.tracking.store import Unreachable
from harness.tracking.synchronize import Synced, sync

__all__ = [
    "Links",
    "Synced",
    "Unreachable",
    "attach",
    "compare_link",
    "links",
    "sync",
    "track",
    "track_failure",
]
