"""`routeline predict` and `routeline calibrate --from` on files as people have them."""

import csv
import io
import os
from pathlib import Path

import pytest
from test_schema import check, documented

from routeline.serving.predict import OUT

HEAD = "model,device,devices,engine,weights,tp,input_len,output_len,concurrency"
GOOD = "Llama-3.1-70B,H100 SXM,4,vllm,fp8,4,1024,1024,64"
WIDE = "DeepSeek-V3,H200 SXM,3,sglang,fp8,3,1024,1024,64"


@pytest.fixture
def file(tmp_path):
    def write(*lines, name="s.csv", head=HEAD):
        path = tmp_path / name
        path.write_text("\n".join([head, *lines]) + "\n")
        return str(path)

    return write


def test_a_pipe_gets_nothing_but_csv_however_few_the_rows(cli, file):
    seen = cli("predict", file(f"{GOOD},mine", WIDE, head=f"{HEAD},note"))
    table = list(csv.DictReader(io.StringIO(seen.out)))
    assert len(table) == 2
    assert set(OUT) <= set(table[0])
    assert table[0]["input_note"] == "mine"
    assert seen.err.splitlines() == [
        "routeline: an output has the name of your column note: yours is kept as input_note",
        "routeline: row 2: tp 3 does not divide 128 heads; use 2 or 4",
    ]


def test_a_written_file_comes_with_a_short_table(cli, file, tmp_path):
    out = tmp_path / "o.csv"
    seen = cli("predict", file(*[GOOD] * 12, WIDE), "-o", str(out))
    assert seen.code == 0
    assert len(out.read_text().splitlines()) == 14
    assert seen.out.count("Llama-3.1-70B") == 10
    assert seen.out.splitlines()[-1] == f"12 of 13 rows answered; written to {out}; the first 10 are above"
    assert seen.err == "routeline: row 13: tp 3 does not divide 128 heads; use 2 or 4\n"
    short = cli("predict", file(WIDE, GOOD), "-o", str(out)).out
    assert "tp 3 does not divide" in short
    assert "yes" in short
    assert "80% interval" in short


def test_the_file_read_is_not_overwritten(cli, file):
    path = file(GOOD)
    before = Path(path).read_text()
    for command in (["predict", path], ["calibrate", "--from", path]):
        seen = cli(*command, "-o", path)
        assert (seen.code, seen.out) == (2, "")
        assert seen.err == f"routeline: {path} is read and would be overwritten; write to another file\n"
    assert Path(path).read_text() == before


def test_a_missing_column_is_one_sentence_with_what_to_rename(cli, file):
    seen = cli("predict", file("H100,1,1", head="GPU,ISL,OSL"))
    assert seen.code == 2
    assert seen.err.count("routeline:") == 1
    for hint in ("'GPU' to device", "'ISL' to input_len", "'OSL' to output_len"):
        assert hint in seen.err


def test_the_help_says_what_a_blank_share_of_memory_is_and_what_is_overwritten(cli):
    text = " ".join(cli("predict --help").out.split())
    assert "A blank memory_utilisation is 0.9 for vllm, sglang, trtllm, tgi, lmdeploy and no engine, 0.98" in text
    assert "WRITTEN OVER THOSE OF THE INSTALLED PACKAGE" in " ".join(cli("calibrate --help").out.split())


def test_a_package_that_cannot_be_written_asks_for_a_folder(cli, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    seen = cli("calibrate --level serving")
    assert seen.code == 2
    assert "--folder" in seen.err


def test_json_is_as_documented(cli, file):
    schema = documented("predict")
    assert {f"rows[].{name}" for name in OUT} <= set(schema)
    found = check(cli("predict", file(GOOD, WIDE), "--json").json, schema)
    assert found == set(schema)


def test_calibrate_names_bad_cells_and_says_what_it_gains(cli, file, tmp_path):
    rows = [
        f"{GOOD.rsplit(',', 1)[0]},{c},{t},{f}"
        for c, t, f in ((64, 22, 300), (32, "zz", ""), (16, 18, ""), (8, 17, ""))
    ]
    path = file(*rows, head=f"{HEAD},measured_tpot_ms,measured_ttft_ms")
    out = str(tmp_path / "c.json")
    seen = cli("calibrate", "--from", path, "-o", out)
    assert seen.code == 0
    assert seen.err == "routeline: row 2: measured_tpot_ms 'zz' is not a positive number: not used\n"
    lines = seen.out.splitlines()
    assert lines[0] == f"3 measured rows; corrections written to {out}"
    assert lines[1].startswith("TPOT: mean absolute error of 3 rows ")
    assert "with each row left out; corrections shrunk by" in lines[1]
    assert lines[2].startswith("TTFT: mean absolute error of 1 row ")
    assert "left out" not in lines[2]
    schema = documented("calibrate")
    assert check(cli("calibrate", "--from", path, "-o", out, "--json").json, schema) == set(schema)
