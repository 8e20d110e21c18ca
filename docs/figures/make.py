"""`make figures`: the pictures of README.md and docs/gallery.md, from real runs.

    python docs/figures/make.py [NAME ...]

Each picture names the command that gives it; the gallery page is written beside the pictures, so that text and
picture cannot disagree. `--silicon` adds the pictures that need the extra of that name (a minute).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import routeline
from routeline import plots, reproduce
from routeline.plots.figure import Figure

HERE = Path(__file__).parent
SETTING = {"context": "32k"}
MODEL, DEVICES = "DeepSeek-V3", "8xH200"
DENSE = ("map", "claim-a", "tpot", "ttft")
"""Pictures of thousands of marks: smaller as PNG."""
SILICON = ("tpot", "ttft", "penalty")
"""Pictures that need the extra of that name."""


def command(name: str) -> str:
    """The command line that draws a chart of the gallery's setting."""
    flags = [x for k, v in SETTING.items() for x in (f"--{k}", v)]
    return shlex.join(["routeline", "plot", name, MODEL, "--devices", DEVICES, *flags, "-o", f"{name}.svg"])


def comparison() -> list[tuple[Figure, str]]:
    """Every chart of one comparison."""
    answer = routeline.ask(MODEL, DEVICES, **SETTING)
    return [(plots.chart(name, answer), command(name)) for name in plots.CHARTS]


def claims() -> list[tuple[Figure, str]]:
    """The abstract's four claims."""
    from routeline.plots.claims import claim

    found = reproduce.reproduce()["claims"]
    return [(claim(c), f"routeline reproduce --claim {c['id']} --plot claim-{c['id']}.svg") for c in found]


def sweep() -> list[tuple[Figure, str]]:
    """What `routeline sweep example` reduces to."""
    from routeline.plots.sweeps import chart
    from routeline.sweep.run import sweep as run

    return [(chart(run("example", workers=1), "map"), "routeline sweep example --plot map=sweep.svg")]


def silicon() -> list[tuple[Figure, str]]:
    """Predictions against measurements, and the penalty that kernels show."""
    from routeline.plots import accuracy
    from routeline.serving import penalty, validate

    result = validate.run()
    return [
        *((accuracy.predicted(result, t), f"routeline validate --plot {t}={t}.png") for t in ("tpot", "ttft")),
        (accuracy.penalty(penalty.run()), "routeline validate penalty --plot penalty.svg"),
    ]


def page(drawn: list[tuple[str, Figure, str]]) -> str:
    """docs/gallery.md."""
    lines = [
        "# Gallery",
        "",
        "Every chart that Routeline draws, from real runs: `make figures` makes this page and its pictures anew. "
        "Blue is the dense model, vermilion the MoE, in every chart and nothing else; what colour says is said again "
        "by shape, dash or label. Captions inside the pictures carry the assumptions; black on a map is R = 1, hatched "
        "what does not fit.",
        "",
    ]
    for file, figure, how in drawn:
        lines += [f"## {figure.title}", "", f"![{figure.alt}](figures/{file})", "", f"`{how}`", ""]
    return "\n".join(lines)


def main(asked: list[str]) -> None:
    names = [a for a in asked if not a.startswith("--")]
    made = [*comparison(), *claims(), *sweep(), *(silicon() if "--silicon" in asked else [])]
    drawn = []
    for figure, how in made:
        file = f"{figure.name}.{'png' if figure.name in DENSE else 'svg'}"
        if not names or figure.name in names:
            content = figure.png(scale=1.4) if figure.name in DENSE else figure.svg().encode()
            (HERE / file).write_bytes(content)
            print(f"wrote {HERE / file}")
        drawn.append((file, figure, how))
    if "--silicon" not in asked:
        drawn += _kept()
    answer = routeline.ask("DeepSeek-V3", "8xH200", context="32k")
    (HERE / "verdict.png").write_bytes(plots.chart("map", answer).png(scale=1.5))
    (HERE.parent / "gallery.md").write_text(page(drawn))


def _kept() -> list[tuple[str, Figure, str]]:
    """Pictures from an earlier run with --silicon stay in the gallery, in the words they had."""
    known = (HERE.parent / "gallery.md").read_text()
    entry = re.compile(r"^## (.*)\n\n!\[(.*)\]\(figures/((\w+)\.\w+)\)\n\n`(.*)`$", re.MULTILINE)
    return [
        (file, Figure(name=name, title=title, caption="", alt=alt, panels=()), how)
        for title, alt, file, name, how in entry.findall(known)
        if name in SILICON and (HERE / file).exists()
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
