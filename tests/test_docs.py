"""README and docs run: every `$ command` of a console block prints what stands below it.

In a ```console block, lines after `$ ` are commands and the others their output; a line `...` stands for
any lines. A block opened with ```toml file=NAME (any language) is written to NAME before the commands
below it run; python blocks with >>> are doctests. `python tests/test_docs.py --update` (make docs) pastes
today's outputs in, keeping as many lines around `...` as there were.
"""

import doctest
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[ ]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = {"docs/architecture.md"}
"""Pages whose python blocks are sketches, not sessions."""


COPIED = re.compile(r"(<!-- from docs/accuracy.md -->\n)(.*?)(<!-- end -->)", re.DOTALL)
"""Where the README repeats the first table of a page."""


def first_table(page: str) -> str:
    return "".join(re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE)[:1])


@dataclass
class Step:
    """One fenced block: a command with its expected output, a file, or a Python session."""

    kind: str
    text: str
    expected: str = ""
    line: int = 0


def steps(page: str) -> list[Step]:
    out = []
    for block in FENCE.finditer(page):
        language, info, body = block.groups()
        line = page[: block.start()].count("\n") + 2
        named = re.search(r"file=(\S+)", info)
        if named:
            out.append(Step("file", body, named[1], line))
        elif language == "console":
            for piece in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, output = continued(piece)
                out.append(Step("command", command, output, line))
        elif language == "python" and ">>>" in body:
            out.append(Step("session", body, "", line))
    return out


def continued(piece: str) -> tuple[str, str, str]:
    """(command, newline, output) of what follows a `$ `; a command goes on after a backslash."""
    match = re.match(r"((?:[^\n]*\\\n)*[^\n]*)(\n?)(.*)", piece, re.DOTALL)
    assert match is not None
    return match[1], match[2], match[3]


def run(command: str, folder: Path) -> str:
    """Standard output, then standard error, of one command as a shell runs it in `folder`."""
    bin_ = str(Path(sys.executable).parent)
    env = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout + done.stderr


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).strip("\n")


def pattern(expected: str) -> str:
    pieces = re.split(r"^\.\.\.$\n?", tidy(expected) + "\n", flags=re.MULTILINE)
    return r"(?:.*\n)*?".join(re.escape(p) for p in pieces)


def agrees(expected: str, found: str) -> bool:
    return re.fullmatch(pattern(expected), tidy(found) + "\n") is not None


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_prints_what_the_page_shows(path: Path, tmp_path: Path) -> None:
    for step in steps(path.read_text()):
        where = f"{path.name}:{step.line}"
        if step.kind == "file":
            (tmp_path / step.expected).write_text(step.text)
        elif step.kind == "command":
            found = run(step.text, tmp_path)
            assert agrees(step.expected, found), f"{where}: $ {step.text}\n{found}\n(make docs pastes it in)"
        elif str(path.relative_to(ROOT)) not in NOT_RUN:
            test = doctest.DocTestParser().get_doctest(step.text, {}, where, str(path), step.line)
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.DocTestRunner(optionflags=options).run(test).failed == 0, where


def test_the_readme_shows_commands() -> None:
    found = [s for s in steps((ROOT / "README.md").read_text()) if s.kind == "command"]
    assert len(found) >= 2
    assert all(s.expected.strip() for s in found)


def test_the_readme_repeats_the_accuracy_as_it_is() -> None:
    found = COPIED.search((ROOT / "README.md").read_text())
    assert found is not None
    assert found[2] == first_table((ROOT / "docs" / "accuracy.md").read_text()) != ""


def test_the_readmes_sentence_on_errors_says_what_the_tables_do() -> None:
    """The numbers in prose: throughput and TTFT beside the peer's, the families' range, rows no fit has seen."""
    page = (ROOT / "docs" / "accuracy.md").read_text()
    tables = dict(re.findall(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", page, re.DOTALL))

    def column(name: str, number: int) -> list[str]:
        return [line.split("|")[number].strip(" *%") for line in tables[name].splitlines()[2:]]

    def whole(value: str) -> str:
        return f"{float(value):.0f}%"

    rate, first = column("throughput", 4), column("ttft", 4)
    family = sorted(map(float, column("families", 3)))
    unseen = tables["published"].splitlines()[2].split("|")
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"throughput is {whole(rate[0])} off in the mean (AIConfigurator {whole(rate[1])})" in text
    assert f"time to first token {whole(first[0])} ({whole(first[1])})" in text
    assert f"runs from {int(family[0])}% to {family[-1]:.0f}%" in text
    tpot, served = (whole(unseen[i].split("/")[0]) for i in (4, 8))
    assert f"{tpot} mean error of TPOT and {served} of throughput" in text


def test_the_map_of_modules_is_complete() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().split("## The map")[1].split("\n## ")[0]
    package = ROOT / "src" / "routeline"
    found = [f"{p.name}/" for p in package.iterdir() if p.is_dir() and not p.name.startswith("_")]
    found += [p.stem for p in package.glob("*.py") if not p.stem.startswith("_")]
    assert [name for name in found if f"`{name}`" not in page] == []
    named = re.findall(r"`([a-z_]+/?)`", "".join(line.split("|")[1] for line in page.splitlines() if line[:3] == "| `"))
    assert [name for name in named if name not in found] == []


def test_ellipses_and_differences_are_told_apart() -> None:
    assert agrees("a\n...\nz\n", "a\nb\nc\nz\n")
    assert agrees("a\n...\n", "a\n")
    assert not agrees("a\n...\nz\n", "a\nb\n")
    assert not agrees("a 1\n", "a 2\n")


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_inside_the_repository_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def refresh(path: Path) -> bool:
    """Paste today's outputs into a page; True if it changed."""
    old = page = path.read_text()
    with tempfile.TemporaryDirectory() as folder:
        for step in steps(old):
            if step.kind == "file":
                (Path(folder) / step.expected).write_text(step.text)
            elif step.kind == "command":
                found = run(step.text, Path(folder))
                if not agrees(step.expected, found):
                    page = page.replace(f"$ {step.text}\n{step.expected}", f"$ {step.text}\n{elided(step, found)}", 1)
    table = first_table((ROOT / "docs" / "accuracy.md").read_text())
    page = COPIED.sub(lambda m: m[1] + table + m[3], page)
    if page != old:
        path.write_text(page)
    return page != old


def elided(step: Step, found: str) -> str:
    """The output, with the lines left out that the page left out.

    A stretch after a `...` starts where the output's line begins as the page's did (12 characters) and is as
    long as it was; where no line does, everything is shown.
    """
    lines, shown = tidy(found).splitlines(), tidy(step.expected)
    stretches = [part.strip("\n").splitlines() for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    out: list[str] = lines[: len(stretches[0])] if stretches[0] else []
    for stretch in stretches[1:]:
        start = next((i for i, line in enumerate(lines) if stretch and line[:12] == stretch[0][:12]), None)
        if stretch and start is None:
            return "\n".join(lines) + "\n"
        out += ["...", *(lines[start : start + len(stretch)] if stretch and start is not None else [])]
    blank = "\n" if step.expected.endswith("\n\n") else ""
    return "\n".join(out if len(stretches) > 1 else lines) + "\n" + blank


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python tests/test_docs.py --update")
    for one in PAGES:
        print(f"{'updated' if refresh(one) else 'as it was'}: {one.relative_to(ROOT)}")
