"""The model that a row names, as model hubs, ollama tags and llama-bench write it -> a catalogue name.

A name is shortened from its end (tuning, precision, date) until the catalogue knows it. Where that needed a step,
a size that the text states must fit the model found: `Command-R-104B` is not Command-R.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from ..device_catalog import data_text

TAIL = re.compile(
    r"[-_.:@+ ](instruct|chat|it|hf|fp8|fp8[-_]block|nvfp4|fp4|mxfp4|mxfp8|bf16|fp16|f16|int4|int8|awq|gptq|w4a16|w8a8|"
    r"w4a8|w8a16|gguf|mlx|bnb|exl2|exl3|hqq|(ud[-_])?i?q\d_[a-z0-9_]+|q\d|\d?-?bit|[\d.]+bpw|dynamic|static|quantized|quant|\d{4}|\d{6}|"
    r"thinking|reasoning|base|kv|qat|turbo|marlin|latest|safetensors|uncensored|abliterated|v\d+(\.\d+)?|g\d+|preview|moe|model|"
    r"\d+k|text|fp8kv|i1|dense|it[-_]qat|distilled|tuned|f32|fp32|native|float16|bfloat16|"
    r"q\d_k ?- ?(small|medium|large)|-)$",
    re.IGNORECASE,
)
SIZE = re.compile(r"(?<![a-z\d.x])(\d+(?:\.\d+)?)\s*b(?![a-z])", re.I)
"""A total size in a name [billions]; active sizes (A3B) and 8x7B do not count."""


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(data_text("model_names.toml"))


def same() -> dict[str, str]:
    """Published name of the same layers -> catalogue model."""
    return {name: model for model, others in _table()["same"].items() for name in others}


def fold(text: str) -> str:
    """A name without case and separators; a plus sign is a word (Command R+)."""
    return re.sub(r"[^a-z0-9]+", "", text.lower().replace("+", "plus"))


def key(text: str) -> str:
    """`fold` with the numbers apart: Gemma 31B is not Gemma-3-1B."""
    return fold(text) + "|" + "-".join(re.findall(r"\d+", text))


def ollama(text: str) -> str:
    """An ollama name as a published one: `llama3.2` -> llama3.2-3b, `deepseek-r1:14b` -> Qwen2.5-14B."""
    name, _, tag = text.strip().lower().rpartition("/")[2].partition(":")
    if not tag or tag == "latest":
        tag = _table()["ollama"].get(name, "")
    size = re.match(r"[\d.x]+[bm]|mini|medium|scout|maverick", tag)
    if name == "deepseek-r1" and size:
        return _table()["ollama_r1"].get(size[0], text)
    return f"{name}-{tag}" if tag else text


def shorter(text: str) -> Iterable[str]:
    """The name, without its organisation, then without tuning and precision suffixes, most specific first."""
    plain = " ".join(text.replace("\u2011", "-").split())
    last = plain.rsplit("/", 1)[-1]
    bare = re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", last)
    seen: dict[str, None] = {}
    for start in (plain, last, " ".join(bare.split())):
        name = re.sub(r"\.gguf$", "", start, flags=re.IGNORECASE)
        for trial in (name, re.sub(r"^meta[-_ ]+(?=llama)", "", name, flags=re.I)):
            seen |= dict.fromkeys(_cut(re.sub(r"(?<=llama)[-_ ]*v(?=\d)", "-", trial, flags=re.I)))
    for trial in list(seen):
        rounded = re.sub(r"(\d+)\.\d+(?=b\b)", r"\1", trial, flags=re.I)
        seen.setdefault(rounded)
        seen.setdefault(re.sub(r"[-_ ]\d+(\.\d+)?b$", "", trial, flags=re.I))
    return seen


def _cut(trial: str) -> Iterable[str]:
    while trial:
        yield trial
        cut = TAIL.sub("", trial)
        if cut == trial:
            return
        trial = cut


def size_fits(text: str, trial: str, total: float) -> bool:
    """Whether a size that the text states beside the name found in it (`trial`) is near `total` parameters."""
    plain = re.sub(r"\d+x\d+(\.\d+)?b|a\d+(\.\d+)?b", " ", text, flags=re.I)
    stated = [float(s) for s in SIZE.findall(plain)]
    if not stated or SIZE.search(trial) or re.search(r"\d+x\d", trial):
        return True
    return any(abs(s * 1e9 / total - 1.0) < 0.35 for s in stated)
