from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.engine.leases import Lease

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files are locked with fcntl")


def test_names_in_use_are_those_of_all_living_leases(workdir: Path) -> None:
    ours, other = Lease(workdir), Lease(workdir)
    for lease, name in ((ours, "a"), (other, "b"), (other, "c"), (other, "b")):
        with lease.take(name):
            pass
    with ours.sole() as names:
        assert names == {"a", "b", "c"}
    del other, lease
    with ours.sole() as names:
        assert names == {"a"}
    assert len(list(workdir.glob(".*.lease"))) == 1


def test_the_lease_of_a_killed_process_is_void(workdir: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from harness.engine.leases import Lease\n"
        "lease = Lease(Path(sys.argv[1]))\n"
        "with lease.take('a'): pass\n"
        "print('taken', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(workdir)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "taken\n"
    with Lease(workdir).sole() as names:
        assert names == {"a"}
    process.kill()
    process.communicate()
    with Lease(workdir).sole() as names:
        assert names == set()


def test_an_entry_that_is_being_taken_is_waited_for(workdir: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from harness.engine.leases import Lease\n"
        "print('ready', flush=True)\n"
        "with Lease(Path(sys.argv[1])).sole() as names: print(*names, flush=True)"
    )
    lease = Lease(workdir)
    with lease.take("a"):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(workdir)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    assert process.communicate()[0] == "a\n"


def test_a_folder_that_cannot_be_written_has_no_leases_but_ones_own(workdir: Path) -> None:
    (workdir / "file").touch()
    lease = Lease(workdir / "file" / "cache")
    with lease.take("a"):
        pass
    with lease.sole() as names:
        assert names == {"a"}


def test_a_lease_may_be_read_by_others(workdir: Path) -> None:
    lease = Lease(workdir)
    with lease.take("a"):
        pass
    (path,) = workdir.glob(".*.lease")
    assert path.stat().st_mode & 0o044
