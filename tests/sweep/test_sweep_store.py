"""Folders, resuming, other executors, full disks; reducers against brute force."""

import errno
import json
import os
import random
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from spaces import OUTPUTS, REDUCE, small

from routeline.errors import RoutelineError
from routeline.sweep import make, store, sweep
from routeline.sweep.evaluate import _PREPARED
from routeline.sweep.lower import VERDICTS


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    return sweep(small(), workers=1)


@pytest.fixture(scope="module")
def reduced():
    return sweep(small(reduce=REDUCE), workers=1)


def test_parquet_blocks_hold_the_same_numbers_with_units_and_assumptions(tmp_path, whole):
    pq = pytest.importorskip("pyarrow.parquet")
    space = small()
    sweep(space, out=tmp_path / "out", workers=1)
    table = pq.read_table(tmp_path / "out" / "blocks")
    assert table.num_rows == space.points
    assert table.column_names == [*(a.name for a in space.axes), *space.outputs]
    want = whole.arrays["ratio"].reshape(-1)
    got = table["ratio"].to_numpy()
    assert np.array_equal(got, want, equal_nan=True)
    assert table["ratio"].null_count == np.isnan(want).sum() > 0
    assert set(table["verdict"].unique().to_pylist()) <= set(VERDICTS)
    meta = table.schema.metadata
    assert json.loads(meta[b"routeline.columns"])["dense_step"]["unit"] == "s"
    assert json.loads(meta[b"routeline.assumptions"])["weights"] == {"value": "fp8", "unit": "", "kind": "given"}
    assert table.schema.field("context").metadata[b"unit"] == b"tokens"


def test_a_dataset_is_labelled(whole):
    pytest.importorskip("xarray")
    data = whole.dataset()
    assert data["ratio"].dims == ("layout", "context", "utilisation", "q")
    assert float(data["ratio"].isel(layout=0, context=3, utilisation=4, q=20)) == whole.arrays["ratio"][0, 3, 4, 20]
    assert data["context"].attrs["unit"] == "tokens"
    assert data.attrs["assumption.tier"] == "ideal (given)"


def test_axes_that_carry_the_name_of_an_output_stay_axes(whole):
    pytest.importorskip("xarray")
    data = sweep({"q": [2, 3]}, model="DeepSeek-V3", devices="8xH200", weights="fp8", outputs=["q", "qs"]).dataset()
    assert data["q"].values.tolist() == [2, 3]
    assert data["q_out"].values.tolist() == [2, 3]


class Shuffled:
    """An executor that answers in a random order."""

    def __init__(self, seed):
        self.chance, self.pending = random.Random(seed), []

    def submit(self, function, *args):
        future = Future()
        self.pending.append((future, function, args))
        if len(self.pending) > 3 or self.chance.random() < 0.2:
            self.flush()
        return future

    def flush(self):
        self.chance.shuffle(self.pending)
        for future, function, args in self.pending:
            future.set_result(function(*args))
        self.pending.clear()


def test_results_do_not_depend_on_who_computes_what(tmp_path, whole, reduced):
    with ThreadPoolExecutor(1) as one:
        threaded = sweep(small(), executor=one)
    assert all(np.array_equal(threaded.arrays[n], whole.arrays[n], equal_nan=True) for n in OUTPUTS)
    two = sweep(small(reduce=REDUCE), workers=2, out=tmp_path / "two")
    one_process = sweep(small(reduce=REDUCE), workers=1, out=tmp_path / "one")
    for name in REDUCE:
        for key, column in reduced.reduced[name].items():
            for other in (two, one_process):
                assert column.tobytes() == other.reduced[name][key].tobytes(), (name, key)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_blocks_that_come_back_out_of_order_are_merged_in_order(reduced):
    class Late(Shuffled):
        def submit(self, function, *args):
            future = super().submit(function, *args)
            if len(self.pending) == 1:  # never leave a caller waiting
                self.flush()
            return future

    found = sweep(small(reduce=REDUCE), executor=Late(3))
    for name in REDUCE:
        for key, column in reduced.reduced[name].items():
            assert column.tobytes() == found.reduced[name][key].tobytes()


@pytest.mark.parametrize("given", [{}, {"reduce": REDUCE}], ids=["rows", "reduced"])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, monkeypatch, given):
    space = small(**given)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    sweep(space, out=calm, workers=1)
    real, left = store.write_whole, [0]

    def full(path, fill):
        if os.path.basename(path).startswith("block-"):
            left[0] -= 1
            if left[0] < 0:
                monkeypatch.setattr(os, "fsync", _no_space)
        real(path, fill)

    def _no_space(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    sync = os.fsync
    for round_ in range(3):
        left[0] = 4
        monkeypatch.setattr(store, "write_whole", full)
        with pytest.raises(RoutelineError, match=r"disk of .* is full; .* --resume"):
            sweep(space, out=rough, resume=round_ > 0, workers=1)
        monkeypatch.setattr(os, "fsync", sync)
        assert len(list((rough / "blocks").iterdir())) == 4 * (round_ + 1)
        assert not (rough / "done.json").exists()
    monkeypatch.setattr(store, "write_whole", real)
    result = sweep(space, out=rough, resume=True, workers=1)
    assert result.computed == space.blocks - 12
    assert files(rough) == files(calm)
    again = sweep(space, out=rough, resume=True, workers=1)
    assert again.computed == 0
    assert files(rough) == files(calm)


def test_a_torn_block_is_computed_again(tmp_path):
    space = small()
    sweep(space, out=tmp_path / "out", workers=1)
    before = files(tmp_path / "out")
    block = tmp_path / "out" / "blocks" / "block-0000003.parquet"
    block.write_bytes(block.read_bytes()[:1000])
    assert sweep(space, out=tmp_path / "out", resume=True, workers=1).computed == 1
    assert files(tmp_path / "out") == before


def test_folders_are_never_overwritten(tmp_path):
    out = tmp_path / "out"
    sweep(small(), out=out, workers=1)
    before = files(out)
    with pytest.raises(RoutelineError, match="already holds this run; continue it with --resume"):
        sweep(small(), out=out)
    for other in (small(tier="bandwidth"), small(outputs=["ratio"]), small(block=2**13), small(reduce=REDUCE)):
        for resume in (True, False):
            with pytest.raises(RoutelineError, match=r"another run .* nothing was overwritten"):
                sweep(other, out=out, resume=resume)
    assert files(out) == before
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("important")
    with pytest.raises(RoutelineError, match="holds other files"):
        sweep(small(), out=full)
    for text in ("[1]", "{}", '{"digest": 3}'):
        (alien := tmp_path / f"alien{len(text)}").mkdir()
        (alien / "run.json").write_text(text)
        for resume in (True, False):
            with pytest.raises(RoutelineError, match=r"run\.json in .* is not of a sweep"):
                sweep(small(), out=alien, resume=resume)
        assert files(alien) == {"run.json": text.encode()}
    with pytest.raises(RoutelineError, match="is a file"):
        sweep(small(), out=full / "thesis.tex")
    assert files(full) == {"thesis.tex": b"important"}


def test_a_folder_serves_one_run_at_a_time(tmp_path):
    space = small()
    folder = store.Folder(str(tmp_path / "out"), space)
    folder.open(resume=False)
    try:
        with pytest.raises(RoutelineError, match="in use by another sweep"):
            sweep(space, out=tmp_path / "out", resume=True)
    finally:
        folder.close()


# --- reducers against brute force ------------------------------------------------------------------------


def test_best_per_group(whole, reduced):
    r, found = whole.arrays["ratio"], reduced.reduced["best"]
    space = whole.space
    for i, layout in enumerate(["pooled", "tp8"]):
        at = np.unravel_index(np.nanargmax(r[i]), r[i].shape)
        assert found["layout"][i] == layout
        assert found["ratio"][i] == r[i][at]
        assert found["headroom_gain"][i] == whole.arrays["headroom_gain"][i][at]
        for axis, j in zip(space.axes[1:], at, strict=True):
            assert found[f"best_{axis.name}"][i] == axis.values[j]


def test_pareto_front(whole, reduced):
    found = reduced.reduced["front"]
    r, t = whole.arrays["ratio"], whole.arrays["dense_step"]
    for i, layout in enumerate(["pooled", "tp8"]):
        x, y = r[i].ravel(), t[i].ravel()
        known = ~np.isnan(x)
        x, y = x[known], y[known]
        want = {(a, b) for a, b in zip(x, y, strict=True) if not np.any((x >= a) & (y <= b) & ((x > a) | (y < b)))}
        mine = found["layout"] == layout
        assert set(zip(found["ratio"][mine], found["dense_step"][mine], strict=True)) == want


def test_histogram_verdicts_and_statistics(whole, reduced):
    r, v = whole.arrays["ratio"], whole.arrays["verdict"]
    h = reduced.reduced["histogram"]
    for i, layout in enumerate(["pooled", "tp8"]):
        mine, known = h["layout"] == layout, r[i][~np.isnan(r[i])]
        edges = np.append(h["low"][mine], h["high"][mine][-1])
        want = np.histogram(np.log(known), np.log(edges))[0]
        assert np.abs(h["count"][mine] - want).sum() <= 2  # a value on an edge may fall to either side
        assert h["missing"][mine][0] == np.isnan(r[i]).sum()
        assert h["below"][mine][0] + h["above"][mine][0] + h["count"][mine].sum() == known.size
    m = reduced.reduced["map"]
    for code, name in enumerate(VERDICTS):
        assert np.array_equal(m[name], (v == code).sum(axis=(2, 3)).ravel())
    s = reduced.reduced["stats"]
    by = np.moveaxis(r, 1, 0).reshape(r.shape[1], -1)
    assert np.array_equal(s["count"], (~np.isnan(by)).sum(axis=1))
    assert np.array_equal(s["min"], np.nanmin(by, axis=1))
    assert np.array_equal(s["max"], np.nanmax(by, axis=1))
    assert s["mean"] == pytest.approx(np.nanmean(by, axis=1), rel=1e-13)


def test_quantiles_over_q(whole, reduced):
    r, found = whole.arrays["ratio"], reduced.reduced["spread"]
    rows = r.reshape(-1, r.shape[-1])
    some = ~np.isnan(rows).all(axis=1)
    want = np.nanquantile(rows[some], [0.1, 0.5, 0.9], axis=1)
    for p, row in zip((0.1, 0.5, 0.9), want, strict=True):
        assert found[f"q{p:g}"][some] == pytest.approx(row, rel=1e-12)
        assert np.isnan(found[f"q{p:g}"][~some]).all()
    assert found["share"] == pytest.approx(1 - np.isnan(rows).mean(axis=1))


# --- what a run depends on -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"reduce": REDUCE}], ids=["rows", "reduced"])
def test_threads_share_programs_and_no_buffers(whole, reduced, given):
    with ThreadPoolExecutor(6) as several:
        found = sweep(small(**given), executor=several)
    for n in found.arrays:
        assert np.array_equal(found.arrays[n], whole.arrays[n], equal_nan=True), n
    for name in found.reduced:
        for key, column in reduced.reduced[name].items():
            assert column.tobytes() == found.reduced[name][key].tobytes(), (name, key)


def test_a_run_is_not_continued_on_another_model_of_the_same_name(tmp_path):
    from importlib.resources import files as resources

    config = json.loads((resources("routeline") / "data/models/Mixtral-8x7B.json").read_text())
    config = config.get("config", config)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))

    def run(**more):
        given = {"model": str(path), "devices": "8xH200", "weights": "fp8", "layout": "pooled"}
        return sweep(make({"context": ["4k", "8k"], "q": [2.0, 3.0]}, **given), **more)

    run(out=tmp_path / "out")
    assert run(out=tmp_path / "out", resume=True).computed == 0
    path.write_text(json.dumps(config | {"num_hidden_layers": config["num_hidden_layers"] + 1}))
    with pytest.raises(RoutelineError, match="another run"):
        run(out=tmp_path / "out", resume=True)


def test_workers_elsewhere_need_no_files_of_the_caller(tmp_path):
    """Names are resolved where the sweep was called: here the file is gone before a block is computed."""
    from importlib.resources import files as resources

    path = tmp_path / "config.json"
    config = json.loads((resources("routeline") / "data/models/Mixtral-8x7B.json").read_text())
    path.write_text(json.dumps(config.get("config", config)))
    space = make({"context": {"from": "1k", "to": "30k", "n": 3000}, "q": [2.0, 3.0]}, model=str(path),
                 devices="8xH200", weights="fp8", layout="pooled", block=2**10)  # fmt: skip
    want = sweep(space, workers=1).arrays

    class Elsewhere(Shuffled):
        def submit(self, function, *args):
            _PREPARED.clear()
            name = path.rename(tmp_path / "hidden")
            try:
                future = super().submit(function, *args)
                self.flush()
            finally:
                name.rename(path)
            return future

    found = sweep(space, executor=Elsewhere(1)).arrays
    assert all(np.array_equal(found[n], want[n], equal_nan=True) for n in want)
