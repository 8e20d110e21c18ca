"""Any point of any sweep is what `compare` says there, to 1e-12: random points of random spaces."""

import random
from dataclasses import replace

import numpy as np
import pytest

from routeline.errors import RoutelineError
from routeline.sweep import make, spot, sweep
from routeline.sweep.lower import REASONS

MODELS = ["DeepSeek-V3", "Qwen3-235B-A22B", "Mixtral-8x7B", "Qwen3-30B-A3B", "Switch-C", "Grok-1", "DeepSeek-V2-Lite"]
DEVICES = ["8xH200", "8xMI300X", "16xH100", "4xB200", "2x8xH100", "1xH200", "72xGB200"]
OUTPUTS = [
    "ratio", "reuse_penalty", "headroom_gain", "ratio_equal_batch", "verdict", "reason", "feasible", "touched",
    "fragmentation", "sparsity", "q", "qs",
    *(f"{r}_{x}" for r in ("moe", "dense") for x in ("batch", "max_batch", "step", "tpot", "rate", "rate_per_device")),
]  # fmt: skip
REFUSED = {
    float(REASONS.index(r)) for r in REASONS if "limit" in r or "too small" in r or "built" in r or r == "refused"
}


def random_space(chance: random.Random, many: int):
    """A space of random axes and settings; `many` values on each numeric axis."""
    axes, fixed = {}, {}

    def put(name, values, share, count=3):
        if chance.random() < share:
            axes[name] = chance.sample(values, min(count, len(values)))
        else:
            fixed[name] = chance.choice(values)

    put("model", MODELS, 0.3, 2)
    put("devices", DEVICES, 0.3, 2)
    put("layout", ["pooled", "pooled", "tp8", "dp8,ep8", "tp4", "pp2"] if chance.random() < 0.8 else ["auto"], 0)
    put("weights", ["native", "fp8", "bf16", "nvfp4"], 0.2, 2)
    put("tier", ["bandwidth", "ideal", "calibrated"], 0.3, 2)
    put("routing", ["uniform", "balanced"], 0.2, 2)
    put("context", [float(chance.randint(1, 32000)) for _ in range(many)], 0.9, many)
    put("q", [chance.uniform(0.3, 6) for _ in range(many)], 0.9, many)
    for name, values in {
        "utilisation": [chance.uniform(0.5, 1) for _ in range(many)], "overhead": ["0GB", "1GB", "5GB"],
        "memory": [chance.uniform(50e9, 250e9) for _ in range(many)], "peak": [0.5, 0.9, 1.5],
        "bandwidth": [chance.uniform(1e12, 8e12) for _ in range(many)], "link": [1e11, 4e11], "nic": [1e10, 9e10],
        "batch": [1.0, 16.0, 33.0, 200.0, 1000.0], "draft": [0.0, 1.0, 3.0],
    }.items():  # fmt: skip
        if chance.random() < 0.35:
            put(name, values, 0.8, 5)
    if "draft" in axes or "draft" in fixed:
        put("accept", [0.0, 0.3, 0.9], 0.5)
    return make(axes, outputs=OUTPUTS, extend_context=chance.random() < 0.7, **fixed) if axes else None


def check(space, chance, points):
    found = sweep(space, workers=1)
    compared = 0
    for _ in range(points):
        index = {a.name: chance.randrange(len(a)) for a in space.axes}
        at = tuple(index[a.name] for a in space.axes)
        got = {k: float(v[at]) for k, v in found.arrays.items()}
        try:
            want = spot.expected(spot.comparison(space, index), space.outputs)
        except RoutelineError:
            assert got["reason"] in REFUSED
            assert np.isnan(got["ratio"])
            continue
        for name in space.outputs:
            if want[name] is None:
                assert np.isnan(got[name]), (name, index)
            else:
                assert got[name] == pytest.approx(want[name], rel=1e-12, abs=0), (name, index, space)
                compared += 1
    return compared


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("many", [3, 8])
def test_points_of_random_spaces_equal_compare(seed, many):
    """many = 3 stays below the size that is traced, 8 is traced and tabulated."""
    chance = random.Random(100 * many + seed)
    space = random_space(chance, many)
    if space is None or space.points > 3e5:
        space = make({"context": [1024.0, 9000.0], "q": [2.0, 3.0]}, model="DeepSeek-V3", devices="8xH200",
                     weights="fp8", outputs=OUTPUTS)  # fmt: skip
    index = {a.name: 0 for a in space.axes}
    try:
        check(space, chance, 6)
    except RoutelineError:  # a whole space refused, as compare refuses its points
        with pytest.raises(RoutelineError):
            spot.comparison(space, index)


@pytest.mark.parametrize("extra", ["ratio_tpot", "ratio_request", "break_even_batch"])
@pytest.mark.parametrize("layout", ["pooled", "tp8"])
def test_the_other_ratios_equal_compare(extra, layout):
    settings = {"model": "DeepSeek-V3", "devices": "8xH200", "weights": "fp8", "tier": "ideal", "layout": layout}
    settings |= {"input": "4k", "prefix_hit": 0.25} if extra == "ratio_request" else {}
    axes = {
        "context": [2048.0, 30000.0, 90000.0],
        "q": [2.0, 3.3, 4.5, 6.0],
        "utilisation": [0.8, 0.85, 0.9, 0.93, 0.95],
    }
    axes |= {"output": [1, 64, 1024]} if extra == "ratio_request" else {"overhead": ["0GB", "1GB", "2GB"]}
    space = make(axes, outputs=[extra], **settings)
    found = sweep(space, workers=1).arrays[extra]
    chance = random.Random(1)
    for _ in range(8):
        index = {a.name: chance.randrange(len(a)) for a in space.axes}
        c = spot.comparison(space, index)
        got = found[tuple(index.values())]
        if extra == "break_even_batch":
            from routeline.breakeven import break_evens

            (want,) = [b for b in break_evens(c, ["batch"])["batch"] if b.tier == "any" and b.layout == "pooled"]
            assert got == pytest.approx(want.crossings[0].value, rel=2e-4)  # theirs is bracketed, ours closed
        else:
            assert got == pytest.approx(spot.expected(c)[extra], rel=1e-12)


@pytest.mark.parametrize("attention", ["gqa", "mqa", "mha", "mla"])
@pytest.mark.parametrize("layout", ["pooled", "tp8"])
def test_synthetic_architectures_equal_compare(attention, layout):
    axes = {
        "experts": [64, 128], "top_k": [4, 80], "granularity": [1, 2], "shared_experts": [0, 1], "dense_layers": [0, 3],
        "hidden": [4096, 7168], "context": [4096.0, 32768.0], "q": [0.2, 2.0, 4.0],
    }  # fmt: skip
    if layout == "tp8":
        axes = {k: axes[k] for k in ("experts", "top_k", "context", "q")}
    space = make(
        axes, devices="8xH200", weights="fp8", tier="ideal", layout=layout, attention=attention, outputs=OUTPUTS
    )
    assert check(space, random.Random(2), 25) > 100


def test_the_worked_table_of_the_model_text():
    """docs/physics.md section 7, row 1 and 5, read off a sweep."""
    settings = {"model": "DeepSeek-V3", "tier": "bandwidth", "layout": "pooled", "basis": "marketed", "context": "128k"}
    one = sweep({"utilisation": [0.95, 0.9], "q": [2.0, 4.5]}, devices="8xMI300X", weights="bf16", cache="bf16",
                outputs=["ratio", "reuse_penalty", "moe_batch", "dense_batch"], **settings)  # fmt: skip
    assert one.arrays["ratio"].round(2).tolist() == [[4.53, pytest.approx(3.87, abs=0.01)], [5.45, 4.62]]
    assert one.arrays["moe_batch"][:, 0].tolist() == [12, 4]
    assert one.arrays["dense_batch"].tolist() == [[142, pytest.approx(121, abs=2)], [133, 113]]
    assert one.arrays["reuse_penalty"][1].round(2).tolist() == [1.22, 0.6]


def test_scaled_axes_enter_as_they_should():
    """Twice the bandwidth and twice every peak is exactly twice as fast where communication is free."""
    found = sweep({"bandwidth": ["4TB/s", "8TB/s"], "peak": [1.0, 2.0], "context": [4096.0 * i for i in range(1, 40)]},
                  model="Mixtral-8x7B", devices="8xH200", layout="pooled", tier="ideal", q=2, extend_context=True,
                  outputs=["moe_step", "ratio", "dense_step"])  # fmt: skip
    step = found.arrays["moe_step"]
    assert step[1, 1] == pytest.approx(step[0, 0] / 2, rel=1e-12)
    assert np.all(step[1, 0] < step[0, 0])
    assert np.all(np.diff(found.arrays["dense_step"][0, 0]) <= 0.05 * found.arrays["dense_step"][0, 0][1:])


def test_every_cell_without_a_value_has_a_reason():
    space = make({"q": [0.2, 2.0, 17.0, 30.0], "context": [1e3, 1e5, 1e6]}, model="DeepSeek-V3", devices="8xH100",
                 weights="fp8", layout="pooled", outputs=["ratio", "reason", "feasible", "verdict"])  # fmt: skip
    found = sweep(space).arrays
    assert np.array_equal(np.isnan(found["ratio"]), found["reason"] != 0)
    assert np.array_equal(found["feasible"] == 1, found["reason"] == 0)
    assert {"q is too small for the dense shape", "context is past the model's limit"} <= {
        REASONS[int(i)] for i in np.unique(found["reason"])
    }


@pytest.mark.parametrize(
    ("output", "settings", "why"),
    [
        ("ratio_tpot", {"tpot": 0.004}, "the time per token is out of reach"),
        ("ratio_request", {"input": "120k", "output": "40k", "extend_context": True}, "the request does not fit"),
        ("break_even_batch", {}, "no batch breaks even"),
    ],
)
def test_an_output_without_a_value_where_r_has_one_has_a_reason(output, settings, why):
    axes = {"utilisation": [0.5, 0.565, 0.57, 0.9], "q": [0.5, 2.0, 6.0, 18.0], "context": [2048.0, 120000.0]}
    space = make(axes, outputs=["reason", output, "ratio"], model="DeepSeek-V3", devices="8xH200", weights="fp8",
                 layout="pooled", tier="ideal", **settings)  # fmt: skip
    found = sweep(space, workers=1).arrays
    led = ~np.isnan(found["ratio"])
    assert np.array_equal(np.isnan(found[output])[led], found["reason"][led] != 0)
    assert (found["reason"][~led] != 0).all()
    code = REASONS.index(why)
    assert not np.isnan(found["ratio"][found["reason"] == code]).any()
    assert (found["reason"] == code).any()
    alone = sweep(replace(space, outputs=("reason",)), workers=1).arrays["reason"]  # nothing else is asked for
    assert np.array_equal(alone == 0, ~np.isnan(found["ratio"]))
    if output != "break_even_batch":  # of which a Comparison holds none
        assert check(space, random.Random(5), 20) > 20


@pytest.mark.parametrize("routing", ["zipf:1", "uniform"])
def test_synthetic_architectures_are_routed_as_compare_routes_them(routing):
    """A skew is a list of as many probabilities as experts: their number is looped over then."""
    space = make({"experts": [64, 128], "context": [4096.0, 32768.0], "q": [2.0, 4.0]}, devices="8xH200",
                 weights="fp8", tier="ideal", layout="pooled", routing=routing, outputs=OUTPUTS)  # fmt: skip
    assert check(space, random.Random(3), 8) > 50


def test_more_devices_than_auto_lays_out_are_refused_as_compare_refuses_them():
    with pytest.raises(RoutelineError, match="more than the 65,536 that auto lays out"):
        sweep({"q": [2.0]}, model="DeepSeek-V3", device="H200", count=80000, weights="fp8", context="8k")


def test_an_architecture_that_uses_every_expert_breaks_even_nowhere():
    found = sweep({"top_k": [8, 64], "q": [2.0]}, experts=64, devices="8xH200", weights="fp8", layout="pooled",
                  tier="ideal", context=4096, outputs=["break_even_batch", "reason"])  # fmt: skip
    assert np.isnan(found.arrays["break_even_batch"][1, 0])
    assert REASONS[int(found.arrays["reason"][1, 0])] == "no batch breaks even"
