"""Rows in, answers out: physics, refusals with row numbers, fallbacks that say so."""

from __future__ import annotations

import numpy as np
import pytest

from routeline.errors import RoutelineError
from routeline.serving import personal
from routeline.serving.predict import OUT, predict, predict_file, write_rows

ROW = {"model": "Llama-3.1-70B", "device": "H100", "devices": 4, "engine": "vllm", "weights": "fp8", "tp": 4,
       "input_len": 1024, "output_len": 512, "concurrency": 32}  # fmt: skip


def one(**change):
    answer = predict([ROW | change])
    return {k: v[0] for k, v in answer.items()}


def test_answers_every_column_and_passes_the_others_through():
    row = one(colour="blue")
    assert set(OUT) <= set(row)
    assert row["colour"] == "blue"
    assert row["reason"] == ""
    assert row["tier"] == "calibrated"
    assert row["low"] < row["tpot_ms"] < row["high"]
    assert row["output_tok_s_per_device"] * 4 == pytest.approx(row["output_tok_s"])


def test_closed_loop_throughput_is_littles_law():
    row = one()
    expected = 32 * 512 / (row["ttft_ms"] / 1e3 + 511 * row["tpot_ms"] / 1e3)
    assert row["output_tok_s"] == pytest.approx(expected, rel=0.15)


def test_a_step_never_beats_the_bytes_it_must_read():
    row = one(concurrency=1, input_len=16, output_len=16)
    floor = 70.55e9 * 0.97 / 4 / 3.35e12 * 1e3
    assert row["tpot_ms"] > floor


@pytest.mark.parametrize(
    ("change", "slower"),
    [({"concurrency": 128}, True), ({"input_len": 8192}, True), ({"tp": 8, "devices": 8}, False),
     ({"weights": "bf16"}, True), ({"device": "H200"}, False), ({"prefix_hit": 0.9}, False)],
)  # fmt: skip
def test_direction_of_each_input(change, slower):
    assert (one(**change)["tpot_ms"] > one()["tpot_ms"]) is slower


def test_accepted_drafts_shorten_the_time_per_token():
    assert (
        one(draft_tokens=3, accepted_tokens=2)["tpot_ms"]
        < one()["tpot_ms"]
        < one(draft_tokens=3, accepted_tokens=0)["tpot_ms"]
    )


def test_many_rows_equal_one_by_one():
    rows = [
        ROW | {"concurrency": c, "model": m} for c in (1, 64) for m in ("Llama-3.1-70B", "DeepSeek-V3", "Qwen3-32B")
    ]
    rows = [r | {"device": "H200", "tp": 8, "devices": 8} for r in rows]
    together = predict(rows)["tpot_ms"]
    assert np.allclose(together, [predict([r])["tpot_ms"][0] for r in rows], rtol=1e-9)


def test_an_unseen_device_and_engine_answer_with_a_wider_interval_and_say_so():
    seen, unseen = one(), one(device="MI300X", engine="something-new")
    assert unseen["tier"] == "fallback"
    assert "cdna3" in unseen["note"]
    assert "something-new" in unseen["note"]
    assert unseen["high"] / unseen["low"] > seen["high"] / seen["low"]


@pytest.mark.parametrize("device", ["MI300X", "A100", "L40S", "GB10", "RTX 4090", "RTX PRO 6000", "MI355X", "RTX 5090"])
def test_devices_without_tables_answer(device):
    row = one(device=device, model="Llama-3.1-8B", devices=1, tp=1, weights="auto", engine="", concurrency=8)
    assert row["reason"] == ""
    assert 0 < row["tpot_ms"] < 1000


def test_bad_rows_are_named_and_the_rest_answered():
    rows = [
        ROW, ROW | {"model": "no-such-model-xyz"}, ROW | {"device": ""}, ROW | {"concurrency": "many"},
        ROW | {"model": "DeepSeek-V3", "tp": 8, "ep": 3, "device": "H200", "devices": 8}, ROW | {"tp": 8},
        ROW | {"output_len": ""}, ROW,
    ]  # fmt: skip
    answer = predict(rows)
    assert [r[:6] for r in answer["reason"]] == ["", "row 2:", "row 3:", "row 4:", "row 5:", "row 6:", "row 7:", ""]
    assert answer["tpot_ms"][0] == answer["tpot_ms"][-1] > 0
    assert all(v is None for v in answer["tpot_ms"][1:-1])


def test_what_does_not_fit_is_refused_with_sizes():
    row = one(model="DeepSeek-V3", devices=1, tp=1)
    assert row["fits"] is False
    assert row["tpot_ms"] is None
    assert "does not fit" in row["reason"]


def test_without_concurrency_the_saturation_throughput_answers():
    full = one(concurrency="", max_batch=64)
    assert full["output_tok_s"] == pytest.approx(one(concurrency=64)["output_tok_s"], rel=1e-6)


def test_more_requests_than_fit_queue():
    most = one()["max_concurrency"]
    over = one(concurrency=3 * most)
    assert over["ttft_ms"] > 2 * one(concurrency=most)["ttft_ms"]
    assert "queue" in over["note"]


def test_blank_layout_uses_the_devices_given():
    row = one(tp="", engine="auto", cache="auto")
    assert "tp=4" in row["note"]


@pytest.mark.parametrize(
    "table", [{}, [], {"model": ["x"]}, {"model": ["x"], "device": ["y"], "input_len": [1, 2], "output_len": [1]}]
)
def test_no_table_is_refused_in_one_sentence(table):
    with pytest.raises(RoutelineError):
        predict(table)


def test_files(tmp_path):
    path, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    write_rows(str(path), {k: [v] for k, v in ROW.items()})
    answer = predict_file(str(path), str(out))
    assert out.read_text().splitlines()[0].startswith("model,device")
    assert answer["tpot_ms"][0] == pytest.approx(one()["tpot_ms"])
    with pytest.raises(RoutelineError, match="cannot be read"):
        predict_file(str(tmp_path / "none.csv"))
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RoutelineError):
        predict_file(str(tmp_path / "bad.csv"))


class TestPersonal:
    """Corrections from the user's own rows."""

    def rows(self, factor, count=3):
        base = predict([ROW | {"concurrency": 8 * 2**i} for i in range(count)])
        return [ROW | {"concurrency": 8 * 2**i, "measured_tpot_ms": base["tpot_ms"][i] * factor} for i in range(count)]

    def test_more_rows_pull_further_and_never_past_the_measurement(self):
        shifts = []
        for count in (1, 4):
            learned = personal.learn(self.rows(1.3, count))
            new = predict([ROW], calibration=learned)["tpot_ms"][0] / one()["tpot_ms"]
            shifts.append(new)
        assert 1.0 < shifts[0] < shifts[1] < 1.3

    def test_other_devices_move_less_and_the_interval_narrows(self):
        learned = personal.learn(self.rows(1.3))
        same = predict([ROW], calibration=learned)
        other = predict([ROW | {"device": "H200"}], calibration=learned)
        assert other["tpot_ms"][0] / one(device="H200")["tpot_ms"] < same["tpot_ms"][0] / one()["tpot_ms"]
        assert same["high"][0] / same["low"][0] < one()["high"] / one()["low"]

    def test_refuses_rows_without_measurements(self, tmp_path):
        with pytest.raises(RoutelineError, match="measured_tpot_ms"):
            personal.learn([ROW])
        (tmp_path / "c.json").write_text("[]")
        with pytest.raises(RoutelineError, match="not a calibration file"):
            personal.load(str(tmp_path / "c.json"))
