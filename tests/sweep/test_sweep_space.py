"""What people write: axes, ranges, units, settings, refusals."""

import numpy as np
import pytest

from routeline.errors import RoutelineError
from routeline.sweep import AXES, OUTPUTS, make, read, sweep
from routeline.sweep.plan import plan
from routeline.sweep.program import tiles

BASE = {"model": "DeepSeek-V3", "devices": "8xH200", "weights": "fp8", "layout": "pooled", "q": 2.0}
NO_Q = {k: v for k, v in BASE.items() if k != "q"}


def test_values_carry_units_and_ranges_are_spread():
    space = make({"context": ["8k", 131072], "bandwidth": ["3.35 TB/s"],
                  "memory": {"from": "80GB", "to": "160GB", "step": "40GB"},
                  "q": {"from": 1, "to": 16, "n": 5, "scale": "log"}}, **NO_Q)  # fmt: skip
    assert space.axis("context").values == (8192.0, 131072.0)
    assert space.axis("bandwidth").values == (3.35e12,)
    assert space.axis("memory").values == (80e9, 120e9, 160e9)
    assert space.axis("q").values == pytest.approx((1, 2, 4, 8, 16))
    assert make({"batch": {"from": 1, "to": 100, "n": 10, "scale": "log"}}, **BASE).axis("batch").values[:3] == (
        1,
        2,
        3,
    )


def test_memory_is_a_basis_or_a_number():
    assert make({"memory": ["usable", "marketed"]}, **BASE).axes[0].name == "basis"
    assert make({"memory": ["100 GB"]}, **BASE).axes[0].values == (100e9,)


@pytest.mark.parametrize(
    ("axes", "settings", "message"),
    [
        ({"contxt": [1]}, {}, "unknown axis 'contxt'; close: context"),
        ({"context": []}, {}, "axis context is empty"),
        ({"context": ["8k", "8k"]}, {}, "twice"),
        ({"bandwidth": [3.35]}, {}, "outside"),
        ({"bandwidth": ["3 TB"]}, {}, "unknown unit 'TB'"),
        ({"utilisation": [1.2]}, {}, "outside"),
        ({"batch": [1.5]}, {}, "whole numbers"),
        ({"context": [float("nan")]}, {}, "finite"),
        ({"context": [True]}, {}, "takes numbers"),
        ({"model": [3]}, {"model": None}, "takes names"),
        ({"context": {"from": 1}}, {}, "needs from, to"),
        ({"context": {"from": 10, "to": 1, "n": 3}}, {}, "above"),
        ({"context": {"from": 1, "to": 5, "n": 0}}, {}, "n must be"),
        ({"context": {"from": 1, "to": 5, "n": 3, "sale": "log"}}, {}, "unknown key of axis context 'sale'"),
        ({"context": {"from": 1, "to": 5, "n": 3, "scale": "cubic"}}, {}, "linear or log"),
        ({"context": [1]}, {"outputs": ["ration"]}, "unknown output 'ration'; close: ratio"),
        ({"context": [1]}, {"outputs": []}, "no outputs"),
        ({"context": [1]}, {"weigths": "fp8"}, "unknown setting 'weigths'; close: weights"),
        ({"q": [2]}, {}, "both an axis and fixed"),
        ({"context": {"from": 1, "to": 1e6, "n": 1000000}}, {"limit": 1e5}, "over the limit of 1e\\+05"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "bets"}}}, "unknown reducer kind 'bets'; close: best"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "best", "by": ["q2"]}}}, "unknown axis of this space"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "best", "output": "verdict2"}}}, "unknown output of reducer x"),
        ({"context": [1]}, {"block": 3}, "a block holds"),
        ({"context": [1]}, {"limit": 0}, "the limit on points must be above 0"),
        ({"context": [1]}, {"limit": float("nan")}, "the limit on points must be above 0"),
        ({"context": {"from": 1, "to": 1e6, "step": 1e-9}}, {}, "a step of 1e-09 makes 1e\\+15 values"),
        ({"context": {"values": [1, 2], "from": 1}}, {}, "values stand alone; leave from out"),
        ({"context": [1]}, {"outputs": "ratio"}, "outputs must be a list of names"),
        ({"context": [1]}, {"memory": "usable", "basis": "usable"}, "basis is fixed twice"),
        ({"context": [1]}, {"weights": 3}, "weights takes names"),
        ({"context": [1]}, {"routing": ["uniform"]}, "routing takes names"),
        ({"context": [10**400]}, {}, "context takes numbers"),
        ({"context": [1]}, {"extend_context": "yes"}, "extend_context is true or false"),
        ({"context": [1]}, {"ignore_fit": True}, "ignore_fit has no place in a sweep"),
        ({"context": [1]}, {"reduce": ["best"]}, "reduce maps names to reducers"),
        ({"context": [1]}, {"reduce": {"x": 3}}, "reducer x needs a kind"),
        ({"context": [1]}, {"reduce": {"x": {"kind": ["best"]}}}, "unknown reducer kind"),
        ({"context": [1]}, {"reduce": {"../x": {"kind": "best"}}}, "names a file"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "best", "by": "context"}}}, "by must be a list of axes"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "best", "by": ["context"] * 2}}}, "by names an axis twice"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "best", "keep": [3]}}}, "keep must be a list of outputs"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "best", "goal": "most"}}}, "goal must be max or min"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "quantiles"}}}, "unknown axis of this space 'q'"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "quantiles", "over": 3}}}, "over must be the name of an axis"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "quantiles", "over": "context", "probabilities": [True]}}},
         "between 0 and 1"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "histogram", "low": 1, "high": float("nan")}}}, "low < high"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "histogram", "low": 1, "high": 2, "bins": True}}}, "bins must be"),
        ({"context": [1]}, {"reduce": {"x": {"kind": "histogram", "low": 1, "high": 2, "scale": "cube"}}},
         "scale must be log or linear"),
    ],
)  # fmt: skip
def test_bad_spaces_are_refused_in_one_sentence(axes, settings, message):
    with pytest.raises(RoutelineError, match=message) as caught:
        make(axes, **(BASE | settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "DeepSeek-V33"}, "unknown model"),
        ({"devices": "8xH2000"}, "unknown device"),
        ({"model": None}, "no model"),
        ({"devices": None}, "no devices"),
        ({"device": "H200"}, "not both"),
        ({"experts": 64}, "synthetic"),
        ({"tier": "best"}, "unknown tier"),
        ({"dense": "Llama-3.1-70B", "q": None, "layout": "tp3"}, "multiple of 3"),
        ({"model": "synthetic", "q": None}, "no evidence on q"),
    ],
)
def test_names_that_mean_nothing_are_refused_before_anything_runs(settings, message, tmp_path):
    with pytest.raises(RoutelineError, match=message):
        sweep({"context": [1024.0]}, out=tmp_path / "out", **(BASE | settings))
    assert not (tmp_path / "out").exists()


def test_a_combination_that_is_refused_does_not_stop_the_others():
    found = sweep(
        {"layout": ["pooled", "tp3", "tp8"], "context": ["4k", "8k"]},
        **{k: v for k, v in BASE.items() if k != "layout"},
    )
    assert np.isnan(found.arrays["ratio"][1]).all()
    assert not np.isnan(found.arrays["ratio"][[0, 2]]).any()
    assert list(found.refusals()) == ["layout=tp3"]
    assert "multiple of 3" in found.refusals()["layout=tp3"]


def test_a_file_says_the_same_as_keywords(tmp_path):
    (tmp_path / "s.toml").write_text(
        'outputs = ["ratio"]\n[axes]\ncontext = ["8k"]\nq = {from = 2, to = 4, n = 3}\n[fixed]\nmodel = "DeepSeek-V3"\n'
        'devices = "8xH200"\nweights = "fp8"\n'
    )
    want = make(
        {"context": ["8k"], "q": [2, 3, 4]}, outputs=["ratio"], model="DeepSeek-V3", devices="8xH200", weights="fp8"
    )
    assert read(str(tmp_path / "s.toml")).digest == want.digest
    assert read("example").points > 1e5


@pytest.mark.parametrize(
    ("text", "message"),
    [("[axes", "not valid TOML"), ("x = 1", "unknown section"), ("axes = 3", "must be a table"),
     ("", "has no \\[axes\\]"),
     ("outputs = 'ratio'\n[axes]\nq=[1]", "list of names"), ("limit = 'x'\n[axes]\nq=[1]", "must be a number")],
)  # fmt: skip
def test_bad_files_are_refused(tmp_path, text, message):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(RoutelineError, match=message):
        read(str(tmp_path / "s.toml"))
    with pytest.raises(RoutelineError, match="cannot read"):
        read(str(tmp_path / "absent.toml"))


def test_too_much_for_memory_is_said_before_it_is_tried():
    axes = {"context": {"from": 1, "to": 1e5, "n": 50000}, "q": {"from": 2, "to": 6, "n": 20000}}
    with pytest.raises(RoutelineError, match="do not fit memory; give an output folder"):
        sweep(axes, **{k: v for k, v in BASE.items() if k != "q"})


def test_the_order_of_axes_is_the_order_of_the_result_whatever_runs_innermost():
    axes = {"q": [2.0, 3.0], "context": [float(i) for i in range(1000, 1200)], "overhead": ["0GB", "1GB"]}
    base = {k: v for k, v in BASE.items() if k != "q"}
    one = sweep(axes, outputs=["ratio"], **base)
    assert [a.name for a in one.space.numeric] != list(axes)
    two = sweep(dict(reversed(axes.items())), outputs=["ratio"], **base)
    assert np.array_equal(one.arrays["ratio"], two.arrays["ratio"].T)
    assert one.space.digest != two.space.digest


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (7, 1, 300), (2, 3, 5, 7, 11), (1000, 1000)])
def test_tiles_cover_a_grid_once_in_order(shape):
    seen = []
    flat = np.arange(int(np.prod(shape))).reshape(shape)
    for box in tiles(shape, 100 if len(shape) != 2 else 2**15):
        part = flat[box]
        assert part.size <= max(100 if len(shape) != 2 else 2**15, shape[-1] if shape else 1)
        seen.append(part.ravel())
    assert np.array_equal(np.concatenate(seen), flat.ravel())


def test_a_dry_run_counts_and_times_without_writing():
    space = make(
        {"context": ["4k", "8k"], "layout": ["pooled", "tp8"], "q": [2.0, 3.0]},
        **{k: v for k, v in BASE.items() if k not in ("layout", "q")},
    )
    found = plan(space)
    assert (found.points, found.cells, found.blocks) == (8, 2, 2)
    assert found.looped == ("layout",)
    assert found.seconds is not None
    assert found.seconds > 0


def test_every_axis_and_output_says_what_it_is():
    assert all(kind.what for kind in AXES.values())
    assert all(known.what for known in OUTPUTS.values())


def test_the_template_is_a_space_that_reads(tmp_path):
    from click.testing import CliRunner

    from routeline.cli.sweep import sweep as command
    from routeline.sweep.space import read

    printed = CliRunner().invoke(command, ["--template"])
    assert printed.exit_code == 0
    (tmp_path / "space.toml").write_text(printed.output)
    assert read(str(tmp_path / "space.toml")) == read("example")


def test_an_unknown_output_lists_the_known_ones():
    from routeline.sweep.outputs import OUTPUTS

    with pytest.raises(RoutelineError) as refused:
        make({"context": [1]}, model="DeepSeek-V3", devices="8xH200", outputs=["foo"])
    assert all(name in str(refused.value) for name in OUTPUTS)


def test_quantiles_run_over_q_unless_told_otherwise_whatever_axis_is_longest():
    """q must be whole in every tile, named or not."""
    axes = {"q": [1.0, 2.0, 3.0, 4.0], "context": [float(c) for c in range(1000, 31000)]}
    kind = {"kind": "quantiles", "probabilities": [0.5]}
    named = sweep(axes, reduce={"x": kind | {"over": "q"}}, **NO_Q)
    plain = sweep(axes, reduce={"x": kind}, **NO_Q)
    assert named.space.numeric[-1].name == plain.space.numeric[-1].name == "q"
    assert np.array_equal(named.reduced["x"]["q0.5"], plain.reduced["x"]["q0.5"], equal_nan=True)
