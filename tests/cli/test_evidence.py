"""quality and cite: laws and pairs side by side, and the sources of exactly what was used."""

import pytest

CASE = "DeepSeek-V3 --devices 8xH200 --context 128k --weights fp8 --tier ideal"


def test_quality_prints_laws_and_pairs_with_sources(cli):
    data = cli("quality DeepSeek-V3 --json").json
    assert {"median", "interval50", "interval90", "convention"} <= set(data["q"])
    assert data["q"]["interval90"][0] < data["q"]["median"] < data["q"]["interval90"][1]
    laws = {r["name"]: r for r in data["laws"]}
    assert laws["sqrt"]["q"] == pytest.approx(data["s"] ** -0.5, rel=1e-9)
    assert all(r["source"] for r in data["laws"])
    assert all(p["source"] for p in data["pairs"])
    out = " ".join(cli("quality DeepSeek-V3").out.split())
    assert out.startswith("q of DeepSeek-V3 is")
    for part in ("equal-tokens", "equal-flop", "compute-optimal", "ludziejewski", "MMLU-Pro", "disagree by a factor"):
        assert part in out, part


def test_quality_on_devices_gives_the_odds(cli):
    data = cli(f"quality {CASE} --json").json
    same = cli(f"compare {CASE} --json").json["q_evidence"]
    assert data["p_dense_wins"] == same["p_dense_wins"]
    assert data["flips"] == same["flips"]
    assert "P(dense ahead)" in cli(f"quality {CASE}").out


def test_quality_where_no_dense_model_matches(cli):
    line = "quality DeepSeek-V3 --convention equal-flop"
    assert cli(f"{line} --json").json["q"]["median"] is None
    assert "no dense model is expected" in cli(line).out


@pytest.mark.parametrize(
    ("flags", "expected", "absent"),
    [
        ("--q 2", {"qs2026"}, {"clark2022", "tian2025", "qwen3"}),
        ("--q-law ling", {"qs2026", "tian2025"}, {"clark2022"}),
        ("", {"qs2026", "mixtral", "olmoe"}, {"clark2022"}),
    ],
)
def test_only_what_was_used_is_cited(cli, flags, expected, absent):
    found = cli(f"cite {CASE} {flags} --json").json["citations"]
    keys = {c["key"] for c in found}
    assert expected <= keys
    assert not absent & keys
    used = " ".join(c["used_for"] for c in found)
    for part in ("config of DeepSeek-V3", "device.bandwidth of H200 SXM", "device.peak.fp8"):
        assert part in used, part
    assert "nic" not in used
    assert all(c["bibtex"].startswith("@") and c["bibtex"].count("{") == c["bibtex"].count("}") for c in found)


def test_several_nodes_cite_their_network_and_bibtex_prints(cli):
    line = "cite DeepSeek-V3 --devices 2x8xH200 --q 2 --tier ideal"
    assert "device.nic" in cli(line).out
    text = cli(f"{line} --bibtex").out
    assert text.count("@") >= 3
    assert "@misc{qs2026" in text
    named = cli("cite DeepSeek-V3 --devices 8xH200 --dense Llama-3.1-70B --tier ideal --json").json["citations"]
    assert any("config of Llama-3.1-70B" in c["used_for"] for c in named)
