"""Tables as people bring them: own columns kept, spellings read, what cannot be read said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from routeline.errors import RoutelineError
from routeline.serving import layout, personal, rows
from routeline.serving.predict import OUT, predict, predict_file, read_rows, remarks

ROW = {"model": "Llama-3.1-70B", "device": "H100 SXM", "devices": 4, "engine": "vllm", "weights": "fp8", "tp": 4,
       "input_len": 1024, "output_len": 1024, "concurrency": 64}  # fmt: skip

ASK = {"model": "Llama-3.1-70B", "weights": "bf16", "tp": 2, "devices": 2, "concurrency": 1}


def one(**change):
    return {k: v[0] for k, v in predict([ROW | change]).items()}


class TestOwnColumns:
    def test_a_column_named_as_an_output_is_kept_under_another_name(self):
        row = one(note="mine", tpot_ms="17", colour="blue")
        assert (row["input_note"], row["input_tpot_ms"], row["colour"]) == ("mine", "17", "blue")
        assert row["note"] != "mine"
        assert row["tpot_ms"] == pytest.approx(one()["tpot_ms"])

    def test_a_kept_column_takes_no_other_columns_name(self):
        row = one(note="a", input_note="b")
        assert (row["input_note"], row["input_input_note"]) == ("b", "a")

    def test_an_answer_can_be_asked_again_and_loses_nothing(self):
        again = predict(predict([ROW]))
        assert {f"input_{name}" for name in OUT} <= set(again)
        assert again["tpot_ms"] == pytest.approx(again["input_tpot_ms"])

    def test_a_layout_column_is_not_ignored_in_silence(self):
        assert remarks({"Layout": [], "model": []}) == [
            "a column layout is not read: give tp, pp, ep, attention_dp and replicas as columns"
        ]

    def test_it_is_said_once(self):
        assert remarks({"note": [], "model": []}) == [
            "an output has the name of your column note: yours is kept as input_note"
        ]
        assert remarks(ROW) == []

    def test_the_file_that_is_read_is_never_written(self, tmp_path):
        path = tmp_path / "s.csv"
        path.write_text("model,device,input_len,output_len\nLlama-3.1-8B,H200,100,100\n")
        before = path.read_text()
        (tmp_path / "link.csv").symlink_to(path)
        for out in ("s.csv", "link.csv", "../" + tmp_path.name + "/s.csv"):
            with pytest.raises(RoutelineError, match="would be overwritten"):
                predict_file(str(path), str(tmp_path / out))
        assert path.read_text() == before


class TestSpellings:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [("input_len", "1k", 1024), ("output_len", "4K", 4096), ("input_len", "1,024", 1024),
         ("concurrency", "1k", 1024),         ("input_len", "1.5k", 1536), ("input_len", "128 Ki", 131072),
         ("tp", "TP8", 8), ("tp", "tp=8", 8),
         ("ep", "EP 16", 16), ("pp", "pp-2", 2), ("attention_dp", "DP8", 8), ("devices", "8x", 8),
         ("devices", "8 GPUs", 8), ("prefix_hit", "50%", 0.5), ("input_len", "1e3", 1000),
         ("input_len", "1_024", 1024)],
    )  # fmt: skip
    def test_numbers(self, name, text, value):
        assert rows.typed(text, name) == value

    @pytest.mark.parametrize(
        ("name", "text"),
        [("input_len", "1,5"), ("memory_utilisation", "0,9"), ("tp", "ep=8"), ("memory_utilisation", "1k"),
         ("tp", "4k"), ("input_len", "many"), ("input_len", "k"), ("input_len", "10,24"), ("input_len", "1k k"),
         ("tp", "")],
    )  # fmt: skip
    def test_what_is_no_number_is_refused(self, name, text):
        with pytest.raises(RoutelineError, match="not a number"):
            rows.typed(text, name)

    def test_a_width_is_a_whole_number(self):
        assert "whole" in one(tp=2.5)["reason"]

    def test_column_names_match_without_case_spaces_and_dashes(self):
        typed = {"Model": "model", "DEVICE": "device", "Input Len": "input_len", "output-len": "output_len"}
        again = {old: ROW[new] for old, new in typed.items()} | {k: ROW[k] for k in ROW if k not in typed.values()}
        answer = predict([again | {"My Colour": "blue"}])
        assert answer["tpot_ms"][0] == pytest.approx(one()["tpot_ms"])
        assert answer["My Colour"] == ["blue"]
        assert "input_len" in answer

    def test_two_columns_of_one_name_are_refused_unless_one_is_exact(self):
        with pytest.raises(RoutelineError, match="both input_len"):
            predict([{k: v for k, v in ROW.items() if k != "input_len"} | {"Input Len": 1, "input-len": 2}])
        assert one(**{"Input Len": 7})["Input Len"] == 7

    @pytest.mark.parametrize(
        ("absent", "typed"),
        [("device", "GPU"), ("input_len", "ISL"), ("input_len", "Input"), ("output_len", "OSL"),
         ("output_len", "Output"), ("device", "Accelerator")],
    )  # fmt: skip
    def test_a_missing_column_names_what_looks_like_it(self, absent, typed):
        table = {typed if k == absent else k: [v] for k, v in ROW.items()}
        with pytest.raises(RoutelineError, match=f"missing column {absent} .rename '{typed}' to {absent}"):
            predict(table)

    @pytest.mark.parametrize(
        ("absent", "typed"),
        [("devices", "GPUs"), ("devices", "num_gpus"), ("engine", "framework"), ("weights", "precision"),
         ("weights", "Quantization"), ("concurrency", "conc"), ("concurrency", "batch")],
    )  # fmt: skip
    def test_an_optional_column_under_another_name_is_pointed_out(self, absent, typed):
        table = {typed if k == absent else k: [v] for k, v in ROW.items()}
        assert f"rename {typed!r} to {absent}" in remarks(table)[0]
        assert remarks(table | {absent: [ROW[absent]]}) == []

    @pytest.mark.parametrize("mark", [";", "\t", "|", ","])
    def test_the_header_tells_what_separates(self, tmp_path, mark):
        path = tmp_path / "s.csv"
        path.write_text("\n\n" + mark.join(ROW) + "\n" + mark.join(str(v) for v in ROW.values()) + "\n")
        assert predict_file(str(path))["tpot_ms"][0] == pytest.approx(one()["tpot_ms"])

    def test_cells_that_would_be_lost_are_refused(self, tmp_path):
        path = tmp_path / "s.csv"
        path.write_text("model,input_len,output_len\nx,1,024,5\n")
        with pytest.raises(RoutelineError, match=r"row 1 .* has 4 cells for 3 columns; quote"):
            read_rows(str(path))
        path.write_text("model,a,a\nx,1,2\n")
        with pytest.raises(RoutelineError, match="two columns named 'a'"):
            read_rows(str(path))
        path.write_text("model,\nx,mine\n")
        assert read_rows(str(path)) == {"model": ["x"], "column_2": ["mine"]}


class TestSaid:
    def test_past_the_models_limit_is_answered_with_a_note(self):
        long = one(input_len=131072, output_len=1, concurrency=1)
        assert "past the model's limit of 131,072 tokens: extended context" in long["note"]
        assert long["tpot_ms"] > 0
        assert "limit" not in one(input_len=131071, output_len=1, concurrency=1)["note"]

    @pytest.mark.parametrize("change", [{"weights": "fp7"}, {"cache": "fp3"}, {"routing": "odd"}])
    def test_a_format_that_is_not_known_falls_back_with_a_wider_interval(self, change):
        plain = one(weights="native") if "weights" in change else one()
        row = one(**change)
        assert (plain["tier"], row["tier"]) == ("calibrated", "fallback")
        assert row["tpot_ms"] == pytest.approx(plain["tpot_ms"])
        assert row["high"] / row["low"] > 1.1 * plain["high"] / plain["low"]
        assert next(iter(change.values())) in row["note"]

    def test_tp_that_does_not_divide_the_heads_is_refused_as_engines_do(self):
        change = {"model": "DeepSeek-V3", "device": "B200", "tp": 3, "devices": 3}
        for engine in ("vllm", "sglang", "trtllm", "", "something-new"):
            assert one(**change, engine=engine)["reason"] == "row 1: tp 3 does not divide 128 heads; use 2 or 4"
        for engine in layout.UNEVEN:
            assert "divide" not in one(**change, engine=engine)["reason"], engine

    def test_kv_heads_need_not_divide(self):
        assert one(model="Qwen2.5-72B", tp=16, devices=16, device="GB200 NVL72")["reason"] == ""

    def test_a_wide_total_of_sglang_is_answered_with_a_wider_interval(self):
        change = {"model": "DeepSeek-V3", "device": "GB200 NVL72", "tp": 72, "devices": 72}
        row = one(**change, engine="sglang")
        assert row["tier"] == "fallback"
        assert "tp 72 does not divide 128 heads" in row["note"]
        assert "tp 72 does not divide" in one(**change, engine="vllm")["reason"]


class TestMemory:
    """Llama-3.1-70B in bf16 on two H100 takes 70.6 GB a device; 0.98 holds longer sequences than 0.9."""

    def tight(self):
        for length in (1024, 8192, 16384, 24576, 32768):
            ask = ASK | {"input_len": length, "device": "H100 SXM"}
            if not one(**ask, memory_utilisation=0.9)["fits"] and one(**ask, memory_utilisation=0.98)["fits"]:
                return ask
        raise AssertionError("no such row")

    def test_a_blank_is_the_default_where_that_holds_a_sequence(self):
        for engine in layout.POOLED:
            blank, typed = one(engine=engine), one(engine=engine, memory_utilisation=layout.UTILISATION)
            assert [blank[k] for k in OUT] == [typed[k] for k in OUT]

    def test_a_blank_that_is_raised_says_so_and_equals_what_it_is_raised_to(self):
        ask = self.tight()
        blank, typed = one(**ask), one(**ask, memory_utilisation=layout.FULL)
        assert "memory_utilisation 0.98: the default holds no sequence" in blank["note"]
        assert [blank[k] for k in OUT if k != "note"] == [typed[k] for k in OUT if k != "note"]
        assert blank["max_concurrency"] >= 1

    def test_a_refusal_states_the_share_it_was_refused_at(self):
        ask = ASK | {"tp": 1, "devices": 1}
        assert "even at memory_utilisation 0.98;" in one(**ask)["reason"]
        assert ", at memory_utilisation 0.9;" in one(**ask, memory_utilisation=0.9)["reason"]
        limit = [one(**ask, **more)["reason"].split(" GB")[0] for more in ({}, {"memory_utilisation": 0.98})]
        assert limit[0] == limit[1]


class TestCalibrate:
    def table(self, count=4, factor=1.3):
        asked = [ROW | {"concurrency": 8 * 2**i} for i in range(count)]
        return [r | {"measured_tpot_ms": v * factor} for r, v in zip(asked, predict(asked)["tpot_ms"], strict=True)]

    def test_an_unreadable_cell_is_named_and_the_other_rows_are_used(self):
        table = self.table()
        table[1]["measured_tpot_ms"], table[2]["measured_tpot_ms"] = "zz", -1
        table[3]["measured_tpot_ms"] = "1,024.5"
        learned = personal.learn([*table, ROW | {"measured_tpot_ms": ""}])
        assert learned["rows"] == 2
        assert learned["skipped"] == [
            "row 2: measured_tpot_ms 'zz' is not a positive number: not used",
            "row 3: measured_tpot_ms '-1' is not a positive number: not used",
        ]
        with pytest.raises(RoutelineError, match="row 1: measured_tpot_ms 'zz'"):
            personal.learn([ROW | {"measured_tpot_ms": "zz"}])

    def test_rows_that_are_refused_are_named(self):
        learned = personal.learn([*self.table(), ROW | {"tp": 3, "devices": 3, "measured_tpot_ms": 5}])
        assert learned["rows"] == 4
        assert learned["skipped"] == ["row 5: tp 3 does not divide 64 heads; use 2 or 4"]

    def test_the_error_before_is_the_predictions_and_after_is_the_corrected_ones(self):
        table = self.table(factor=1.3)
        for row, factor in zip(table, (1.0, 1.1, 0.95, 1.02), strict=True):
            row["measured_tpot_ms"] *= factor
        learned = personal.learn(table)
        seen = np.array([r["measured_tpot_ms"] for r in table])
        for name, calibration in (("before", None), ("after", learned)):
            made = np.array(predict(table, calibration=calibration)["tpot_ms"])
            assert learned["errors"]["tpot"][name] == pytest.approx(np.mean(np.abs(made / seen - 1)), rel=1e-9)
        assert learned["errors"]["tpot"]["after"] < learned["errors"]["tpot"]["before"]

    def test_leaving_out_is_learning_from_the_others(self):
        table = self.table()
        for row, factor in zip(table, (1.0, 1.1, 0.9, 1.05), strict=True):
            row["measured_tpot_ms"] *= factor
        table[3]["device"] = "H200"
        off = []
        for i, row in enumerate(table):
            others = personal.learn(table[:i] + table[i + 1 :])
            made = predict([row], calibration=others)["tpot_ms"][0]
            off.append(abs(made / row["measured_tpot_ms"] - 1))
        assert personal.learn(table)["errors"]["tpot"]["left_out"] == pytest.approx(np.mean(off), rel=1e-6)
        assert personal.learn(table[:2])["errors"]["tpot"]["left_out"] is None

    def test_the_shrinkage_is_what_the_corrections_leave_of_the_measured_offset(self):
        learned = personal.learn(self.table(factor=1.3))
        applied = sum(mean for mean, _ in learned["offsets"]["tpot"].values())
        assert learned["errors"]["tpot"]["shrunk"] == pytest.approx(1 - applied / math.log(1.3), rel=1e-6)
        assert personal.learn(self.table(1))["errors"]["tpot"]["shrunk"] > learned["errors"]["tpot"]["shrunk"]
