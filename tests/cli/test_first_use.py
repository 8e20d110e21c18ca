"""What stops or misleads somebody who runs a command for the first time."""

import importlib.util
import re

import pytest

from routeline import devices, resolve

REPORT = "report DeepSeek-V3 --devices 8xH200 --q 2 --tier ideal"


@pytest.fixture
def without(monkeypatch):
    """without('altair'): as if the package were not installed."""
    found = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in names else found(n, *a))

    return hide


@pytest.mark.parametrize("ending", ["md", "html"])
def test_a_report_without_the_charts_extra_says_so_once(cli, without, tmp_path, ending):
    without("altair")
    result = cli(*REPORT.split(), "-o", str(tmp_path / f"report.{ending}"))
    assert result.code == 0
    assert "pip install 'routeline[plots]'" in result.err
    assert len(result.err.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == [f"report.{ending}"]  # no empty folder
    text = (tmp_path / f"report.{ending}").read_text()
    assert text.count("Not drawn") == text.count("altair") == 1


def test_charts_asked_for_by_name_are_refused_without_the_extra(cli, without, tmp_path):
    without("altair")
    result = cli(*REPORT.split(), "--charts", "memory", "-o", str(tmp_path / "a.md"))
    assert result.code == 2
    assert "routeline[plots]" in result.err


def test_sensitivity_without_salib_prints_what_needs_none(cli, without):
    without("SALib")
    result = cli("sensitivity DeepSeek-V3 --devices 8xH200 --q 2 --tier ideal")
    assert result.code == 0
    assert "R per 1% more" in result.out
    assert "pip install 'routeline[sweep]'" in result.err
    assert len(result.err.splitlines()) == 1
    assert cli("sensitivity DeepSeek-V3 --devices 8xH200 --q 2 --tier ideal --json").json["ranking"] is None
    assert cli("sensitivity DeepSeek-V3 --devices 8xH200 --q 2 --tier ideal --no-ranking").err == ""


def test_a_sweep_says_what_it_sweeps(cli):
    said = " ".join(cli("sweep example").out.split("map:")[0].split())
    for part in ("devices 8xH200 | 8xMI300X | 16xH100", "context 4k to 128k (16 values)", "q 2 to 8 (61 values)",
                 "model DeepSeek-V3", "weights fp8", "tier ideal"):  # fmt: skip
        assert part in said, part


def test_what_was_not_given_to_a_sweep_is_named_too(cli, tmp_path):
    space = tmp_path / "space.toml"
    space.write_text('[axes]\ncontext = ["8k", "32k"]\n[fixed]\nmodel = "DeepSeek-V3"\ndevices = "8xH200"\n')
    out = " ".join(cli("sweep", str(space)).out.split())
    assert "context 8k | 32k" in out
    assert "q from the evidence, tier auto" in out


def test_each_reduction_says_what_its_columns_are(cli):
    out = " ".join(cli("sweep example").out.split())
    assert "spread: ratio over the other axes; count: points that have one" in out
    assert "best_for_dense: the point with the largest ratio" in out


def test_a_cluster_of_devices_without_a_link_is_named_so_that_it_can_be_read(tmp_path):
    text = 'name = "{}"\nmemory = "80 GB"\nbandwidth = "3 TB/s"\n[peaks]\nbf16 = "900 TFLOP/s"\n'
    for name, shown in (("x", "8x x"), ("mine", "8xmine"), ("4090 mod", "8x 4090 mod")):
        (tmp_path / "d.toml").write_text(text.format(name))
        assert resolve.cluster(f"8x{tmp_path}/d.toml").name == shown
    assert devices.parse_devices("16xH100").name == "2x8xH100 SXM"
    assert devices.parse_devices("8x1xH100").name == "8x1xH100 SXM"


@pytest.mark.parametrize(
    "value", [0.9751, 0.979, 0.9799, 0.9801, 0.984, 1.0151, 1.0174, 1.0199, 1.0201, 1.0224, 1.0249]
)
def test_r_as_printed_shows_whether_it_is_a_tie(value):
    from routeline.answer.rows import ratio_text
    from routeline.fair import leads

    assert leads(float(ratio_text(value))) == leads(value) or abs(float(ratio_text(value))) in (0.98, 1.02)
    assert ratio_text(1.0174) == "1.017"
    assert ratio_text(1.0224) == "1.022"
    assert ratio_text(0.5) == "0.50"


def test_no_two_rows_of_claim_b_print_the_same_r_with_another_verdict(cli):
    out = cli("reproduce --claim b").out
    rows = re.findall(r" \d+k(?: \*)? +[\d.]+ +([\d.]+) .* (dense|moe|tie) *$", out, flags=re.MULTILINE)
    assert len(rows) == 48
    seen: dict[str, set[str]] = {}
    for ratio, verdict in rows:
        seen.setdefault(ratio, set()).add(verdict)
    assert {r: v for r, v in seen.items() if len(v) > 1} == {}
    assert "tie: R is within 2% of 1" in out


def test_the_readmes_verdict_is_the_chart_map(cli, tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    place = tmp_path / "v.json"
    result = cli(f"plot verdict DeepSeek-V3 --devices 8xH200 --q 2 --tier ideal --x q -o {place}")
    assert result.code == 0, result.err
    assert place.exists()


def test_what_binds_a_step_names_the_part_that_does(cli):
    line = "compare DeepSeek-V3 --devices 8xH200 --context 128k --tier ideal"
    assert "compute (attention to the cache)" in " ".join(cli(line).out.split())
    found = cli(f"{line} --json").json
    assert found["dense"]["bound"] in ("memory", "compute", "communication", "overhead")
