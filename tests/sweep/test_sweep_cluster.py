"""The same blocks on Dask: a real LocalCluster of several processes, whose workers are killed mid-run."""

import os
import signal
import threading
import time
import warnings

import pytest
from spaces import OUTPUTS, REDUCE, small

from routeline.errors import RoutelineError
from routeline.sweep import sweep

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    import dask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dask.config.set({"distributed.worker.memory.terminate": False, "distributed.comm.timeouts.connect": "20s"})
        made = distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None,
                                        silence_logs=50)  # fmt: skip
        yield made
        made.close()


def worker_pids(cluster):
    return [n.pid for n in cluster.workers.values() if getattr(n, "pid", None)]


def test_a_cluster_gives_the_same_bits_as_one_process(cluster, tmp_path):
    import numpy as np

    want = sweep(small(), workers=1)
    found = sweep(small(), cluster=cluster.scheduler_address)
    assert all(np.array_equal(found.arrays[n], want.arrays[n], equal_nan=True) for n in OUTPUTS)


@pytest.mark.parametrize("given", [{}, {"reduce": REDUCE}], ids=["rows", "reduced"])
def test_killed_workers_cost_time_and_nothing_else(cluster, tmp_path, given):
    space = small(**given)
    sweep(space, out=tmp_path / "calm", workers=1)
    stop, killed = threading.Event(), []

    def kill():
        while not stop.is_set() and len(killed) < 4:
            time.sleep(0.25)
            pids = worker_pids(cluster)
            if pids and not stop.is_set():
                try:
                    os.kill(pids[len(killed) % len(pids)], signal.SIGKILL)
                    killed.append(pids)
                except ProcessLookupError:
                    pass

    seen = threading.Event()
    thread = threading.Thread(target=lambda: (seen.wait(60), kill()))
    thread.start()

    def progress(done, of, points):
        seen.set()
        until = time.monotonic() + 30
        while done >= 3 and not killed and time.monotonic() < until:  # the space itself takes less than a second
            time.sleep(0.01)
        time.sleep(0.08)

    try:
        sweep(space, out=tmp_path / "rough", cluster=cluster.scheduler_address, progress=progress)
    finally:
        stop.set()
        seen.set()
        thread.join()
    assert killed
    read = lambda d: {p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file() and p.name != ".lock"}  # noqa: E731
    assert read(tmp_path / "rough") == read(tmp_path / "calm")


def test_no_scheduler_is_one_sentence():
    pytest.importorskip("distributed")
    with pytest.raises(RoutelineError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        sweep(small(), cluster="tcp://127.0.0.1:9")
