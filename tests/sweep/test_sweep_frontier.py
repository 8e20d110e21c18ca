"""Crossings against brute force, smallest clusters against compare, sensitivities against known functions."""

import math

import numpy as np
import pytest

from routeline import ask
from routeline.errors import RoutelineError
from routeline.sweep import sweep
from routeline.sweep.frontier import frontier, smallest_clusters
from routeline.sweep.sensitivity import resolve_ranges, sensitivity

DSV3 = {"model": "DeepSeek-V3", "devices": "8xH200", "weights": "fp8", "tier": "ideal"}


@pytest.mark.parametrize(
    ("along", "low", "high", "scale", "point"),
    [
        ("utilisation", 0.86, 1.0, "linear", {"context": "128k", "layout": "tp8", "q": 5.0}),
        ("context", 40000.0, 131072.0, "log", {"layout": "tp8", "q": 6.0, "utilisation": 0.9}),
        ("overhead", "0GB", "12GB", "linear", {"context": "128k", "layout": "tp8", "q": 5.5, "utilisation": 0.92}),
        ("q", 1.0, 16.0, "log", {"context": "64k", "layout": "dp8,ep8"}),
        ("memory", "120GB", "150GB", "linear", {"context": "100k", "layout": "tp8", "q": 5.0}),
    ],
)
def test_all_crossings_are_those_of_a_fine_scan(along, low, high, scale, point):
    f = frontier({}, along=along, low=low, high=high, scale=scale, **(DSV3 | point))
    (found,) = f.crossings
    n = 40_001
    x = np.geomspace(f.low, f.high, n) if scale == "log" else np.linspace(f.low, f.high, n)
    y = sweep({along: x.tolist()}, outputs=["ratio"], **(DSV3 | point)).arrays["ratio"]
    known = np.isfinite(y[:-1]) & np.isfinite(y[1:])
    turns = np.flatnonzero(known & ((y[:-1] > 1) != (y[1:] > 1)))
    assert len(found) >= len(turns)
    for i in turns:
        assert any(x[i] <= value <= x[i + 1] and rises == bool(y[i + 1] > 1) for value, rises, _ in found)
    for value, rises, kind in found:
        just = np.array([value * (1 - 1e-9), value * (1 + 1e-9)])
        a, b = sweep({along: just.tolist()}, outputs=["ratio"], **(DSV3 | point)).arrays["ratio"]
        assert (a > 1) != (b > 1)
        assert (b > 1) == rises
        assert kind == ("root" if abs(a - b) < 1e-7 else "step")


def test_zigzags_of_floored_batches_are_all_found():
    """Few sequences: R crosses a level in the middle of its staircase more than once."""
    base = DSV3 | {"context": "128k", "layout": "tp8", "q": 4.0, "devices": "8xB200"}
    x = np.linspace(0.5, 1.0, 60_001)
    y = sweep({"utilisation": x.tolist()}, outputs=["ratio"], **base).arrays["ratio"]
    levels = np.nanquantile(y, np.linspace(0.05, 0.95, 19))
    counts = [np.sum(np.isfinite(y[:-1]) & np.isfinite(y[1:]) & ((y[:-1] > v) != (y[1:] > v))) for v in levels]
    level = float(levels[int(np.argmax(counts))])
    f = frontier({}, along="utilisation", low=0.5, high=1.0, scale="linear", level=level, **base)
    assert max(counts) >= 3
    assert len(f.crossings[0]) >= max(counts)


def test_a_contour_runs_over_a_grid_and_says_who_leads_where_nothing_crosses():
    f = frontier({"layout": ["pooled", "tp8"], "q": [2.0, 4.5]}, along="context", low="1k", high="64k", **DSV3)
    assert [r["layout"] for r in f.rows] == ["pooled", "pooled", "tp8", "tp8"]
    pooled = [c[0][0] for c in f.crossings[:2]]
    assert pooled[0] < pooled[1]  # a larger dense model needs a longer context to pay
    assert f.above[2] == 1.0
    table = f.table()
    assert len(table["context"]) == sum(max(len(c), 1) for c in f.crossings)


def test_a_batch_axis_crosses_at_whole_numbers():
    f = frontier(
        {}, along="batch", low=1, high=64, output="ratio_equal_batch", context="8k", q=2.0, layout="pooled", **DSV3
    )
    assert f.crossings[0]
    for value, _, _ in f.crossings[0]:
        assert value == int(value)
        a, b = sweep({"batch": [value - 1, value]}, outputs=["ratio_equal_batch"], context="8k", q=2.0, layout="pooled",
                     **DSV3).arrays["ratio_equal_batch"]  # fmt: skip
        assert (a > 1) != (b > 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"along": "layout"}, "axis of numbers"), ({"along": "contxt"}, "unknown axis"), ({"high": 1024.0}, "low < high"),
     ({"output": "verdict"}, "unknown output"), ({"scale": "cubic"}, "log"), ({"scan": 1}, "scan must be")],
)  # fmt: skip
def test_bad_frontiers_are_refused(given, message):
    settings = {"along": "context", "low": 1024.0, "high": 4096.0, "q": 2.0, **DSV3} | given
    with pytest.raises(RoutelineError, match=message):
        frontier({}, **settings)


def test_the_smallest_cluster_is_the_first_that_fits():
    found = smallest_clusters("DeepSeek-V3", "H200", context=["4k", "128k"], concurrency=[1, 64], weights="fp8", q=4.5,
                              limit=64)  # fmt: skip
    assert found.moe[0, 0] == 6
    assert np.all(np.diff(found.moe, axis=0) >= 0)
    assert np.all(np.diff(found.moe, axis=1) >= 0)
    for role, table in (("moe", found.moe), ("dense", found.dense)):
        for i, length in enumerate(found.context):
            for j, wanted in enumerate(found.concurrency):
                n = int(table[i, j])
                at = found.tried.index(n)
                for size, fits in ((n, True), (found.tried[at - 1], False)) if at else ((n, True),):
                    c = ask("DeepSeek-V3", f"{size}xH200", context=length, weights="fp8", q=4.5)
                    one = getattr(c, role)
                    room = 0.0 if one.largest is None else one.largest.max_batch
                    from routeline import side

                    room = float(np.max(side.max_batch(one.counted, c.ground, one.options))) if one.fits else room
                    assert (room >= wanted) is fits, (role, size, length, wanted)


def test_elasticities_are_slopes_of_compare():
    s = sensitivity(
        "DeepSeek-V3", "8xH200", context="32k", weights="fp8", q=4.5, tier="ideal", layout="pooled", ranking=False
    )
    by = {e.name: e for e in s.elasticities}
    for name, settings in {"q": {"q": 4.5 * 1.05}, "context": {"context": 32768 * 1.05}}.items():
        c = ask(
            "DeepSeek-V3",
            "8xH200",
            **({"context": 32768.0, "weights": "fp8", "q": 4.5, "tier": "ideal", "layout": "pooled"} | settings),
        )
        assert by[name].high == pytest.approx(c.throughput_ratio, rel=1e-12)
        assert by[name].value == pytest.approx(math.log(by[name].high / by[name].low) / math.log(1.05 / 0.95), rel=1e-9)
    assert by["memory"].value == pytest.approx(by["utilisation"].value, rel=1e-9)  # they only enter as a product
    swings = {(x.name, x.choice): x for x in s.swings}
    assert swings["weights", "bf16"].reason == "moe does not fit"


def test_the_ranking_adds_up_and_puts_q_first():
    pytest.importorskip("SALib")
    s = sensitivity("DeepSeek-V3", "8xH200", context="32k", weights="fp8", q=4.5, tier="ideal", samples=256,
                    overhead="1GB",
                    ranges={"q": (2, 10), "bandwidth": ("4TB/s", "4.8TB/s"), "overhead": ("1GB", "1.2GB")})  # fmt: skip
    total = {k: v for k, (v, _) in s.ranking.total.items()}
    assert next(iter(total)) == "q"
    assert total["q"] > 0.95
    assert sum(v for v, _ in s.ranking.first.values()) == pytest.approx(1.0, abs=0.1)
    assert s.ranking.unfit == 0.0


def test_where_a_side_does_not_fit_the_ranking_is_of_who_leads():
    pytest.importorskip("SALib")
    s = sensitivity("DeepSeek-V3", "8xH100", context="4k", weights="nvfp4", q=4.0, tier="ideal", samples=64,
                    ranges={"memory": ("20GB", "80GB"), "q": (2, 8)})  # fmt: skip
    assert s.ranking.of == "dense leads"
    assert 0 < s.ranking.unfit < 1


@pytest.mark.parametrize(
    ("given", "message"),
    [({"ranges": {"q": (3, 2), "context": (1, 2)}}, "not below"), ({"ranges": {"q": (2, 3)}}, "at least two"),
     ({"ranges": {"nic": ("1GB/s", "2GB/s"), "q": (2, 3)}}, "unknown number to vary"),
     ({"samples": 100}, "power of two"),
     ({"weights": "bf16"}, "R has no value at this point \\(moe does not fit\\)")],
)  # fmt: skip
def test_bad_analyses_are_refused(given, message):
    with pytest.raises(RoutelineError, match=message):
        sensitivity("DeepSeek-V3", "8xH200", **({"context": "8k", "weights": "fp8", "q": 4.5} | given))


def test_default_ranges_name_their_origin():
    assert all(why for _, _, why in resolve_ranges({"utilisation": 0.9, "context": 8192.0}, None).values())


def test_bad_samples_and_ranges_are_refused_before_any_work(monkeypatch):
    import routeline.sweep.sensitivity as module

    monkeypatch.setattr(module, "_ratios", lambda *_: pytest.fail("work began"))
    for options, said in [({"samples": 100}, "power of two"),
                          ({"ranges": {"q": (5, 2), "context": (1, 2)}}, "not below"),
                          ({"ranges": {"foo": (1, 2), "q": (1, 2)}}, "foo")]:  # fmt: skip
        with pytest.raises(RoutelineError, match=said):
            sensitivity("DeepSeek-V3", "8xH200", layout="pooled", **options)


def test_q_varies_over_the_interval_that_compare_shows():
    from routeline import ask

    shown = ask("DeepSeek-V3", "8xH200").q_evidence.interval90
    for given in ({}, {"q": 3.0}):
        found = sensitivity("DeepSeek-V3", "8xH200", layout="pooled", tier="ideal", samples=8, **given)
        assert found.ranking.ranges["q"][:2] == tuple(float(v) for v in shown)
