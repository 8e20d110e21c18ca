"""Tables in consoles of any width: no word and no number is broken, and what fits stays one table."""

import io
import re
import shlex
from collections import Counter

import pytest
from rich.console import Console

from routeline.cli import _show

ROWS = """model,device,devices,engine,weights,tp,ep,input_len,output_len,concurrency
gpt-oss-120b,H200,8,vllm,native,8,1,1024,1024,64
DeepSeek-V3,H200,8,sglang,fp8,8,1,8192,1024,32
"""
COMMANDS = (
    "compare DeepSeek-V3 --devices 8xH200 --context 128k --weights fp8 --compare-layouts -v",
    "compare DeepSeek-V3 --devices 8xH200,8xMI300X,1xL4 --weights fp8 --q 2",
    "inspect DeepSeek-V3",
    "models",
    "devices",
    "devices 2x8xH100",
    "sweep example",
    "sweep example --dry-run",
    "validate kernels",
    "fit DeepSeek-V3 --devices 8xH200 --weights fp8",
    "quality DeepSeek-V3 --devices 8xH200",
    "explain moe.step_time_s DeepSeek-V3 --devices 8xH200 --tier ideal --deep",
    "calibrate --show",
    "cite DeepSeek-V3 --devices 8xH200",
    "plot --list",
    "sensitivity DeepSeek-V3 --devices 8xH200 --q 2 --no-ranking",
    "reproduce --claim b --claim c --claim d",
    "predict rows.csv -o out.csv",
    "diff before.toml after.toml",
)
WITHOUT = {"report", "web"}
"""Commands that print no table."""


def drawn(grid, width):
    out = io.StringIO()
    Console(file=out, width=width, markup=False).print(grid, crop=False)
    return out.getvalue()


def in_pieces(header, found):
    """Whether a header word stands there whole, or broken after underscores only."""
    pieces = re.findall(r"[^_]*_+|[^_]+", header)
    ends = range(1, len(pieces) + 1)
    return not pieces or any("".join(pieces[:n]) in found and in_pieces("".join(pieces[n:]), found) for n in ends)


def check(grid, width):
    text = drawn(grid, width)
    found = Counter(text.split())
    cells = Counter(word for row in grid.rows for cell in row for word in cell.split())
    broken = [word for word, times in cells.items() if found[word] < times]
    assert broken == [], text
    assert [w for h in grid.columns for w in h.split() if not in_pieces(w, found)] == [], text
    longest = max((len(w) for w in cells), default=0)
    if longest + max((len(w) for row in grid.rows for w in row[0].split()), default=0) + 5 <= width:
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width, text


@pytest.mark.parametrize("line", COMMANDS)
def test_no_word_of_any_table_is_broken(cli, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)
    for name, context in (("before", "8k"), ("after", "128k")):
        text = f'model = "DeepSeek-V3"\ndevices = "8xH200"\n[scenario]\ncontext = "{context}"\nq = 2\n'
        (tmp_path / f"{name}.toml").write_text(text)
    seen, made = [], _show.Grid.__init__

    def keep(self, *arguments, **options):
        made(self, *arguments, **options)
        seen.append(self)

    monkeypatch.setattr(_show.Grid, "__init__", keep)
    result = cli(*shlex.split(line))
    assert result.code == 0, result.err
    assert seen
    for grid in seen:
        for width in (60, 80, 100):
            check(grid, width)


def test_every_command_with_a_table_is_in_the_list():
    from routeline.cli import command_names

    assert {line.split()[0] for line in COMMANDS} | WITHOUT == set(command_names())


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_of_text_end_between_words_too(cli, monkeypatch, width):
    monkeypatch.setattr(_show, "PIPE_WIDTH", width)
    wide = cli("compare DeepSeek-V3 --devices 8xH200 --q 2").out
    assert max(map(len, map(str.rstrip, wide.splitlines()))) <= width
    monkeypatch.setattr(_show, "PIPE_WIDTH", 10)
    out = cli("explain moe.step_time_s DeepSeek-V3 --devices 8xH200 --q 2").out
    assert "moe.step_time_s" in out.split()  # longer than the console, and whole


def test_a_table_that_does_not_fit_is_split_and_names_its_rows_again():
    heads = ["model", "row", *(f"a_long_header_{i}" for i in range(8))]
    rows = [("one", str(n), *(str(10_000 * n + i) for i in range(8))) for n in range(1, 4)]
    text = drawn(_show.table(heads, rows, title="All of them"), 60)
    parts = [p for p in text.split("\n ─") if p]
    assert len(parts) > 2
    assert text.count("All of them") == 1
    for part in parts[1:]:
        assert re.findall(r"^ one +(\d) ", part, flags=re.MULTILINE) == ["1", "2", "3"]
    assert len(drawn(_show.table(heads, rows), 200).split("\n ─")) == 2


def test_two_sides_stay_beside_each_other(cli, monkeypatch):
    monkeypatch.setattr(_show, "PIPE_WIDTH", 60)
    out = cli("compare DeepSeek-V3 --devices 8xH200 --context 128k --q 2 --layout tp8").out
    assert re.search(r"^ fits +yes +yes", out, flags=re.MULTILINE)
    monkeypatch.setattr(_show, "PIPE_WIDTH", 80)
    out = cli("compare DeepSeek-V3 --devices 8xH200 --context 128k --q 2").out
    assert re.search(r"^ weights resident, all devices +[\d.]+ GB", out, flags=re.MULTILINE)  # the label on one line


def test_a_long_run_shows_that_it_lives_on_a_terminal_only(monkeypatch, capsys):
    with _show.working("counting"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert type(_show.working("counting")).__name__ == "Status"
