"""The page's plumbing without a browser: links, uploads, refusals, downloads, bounded caches."""

import csv
import io
import json
from dataclasses import replace

import pytest

import routeline
from routeline.errors import RoutelineError
from routeline.models import FOLDER, _read_json
from routeline.web import answers, state, uploads

pytest.importorskip("altair", reason="the page's charts need the extra [plots]")


@pytest.fixture(scope="module")
def names():
    return answers.every_model(), answers.devices()


def config(**change):
    """A real config with changes; None removes a key."""
    raw = _read_json(f"{FOLDER}/Mixtral-8x7B.json")["config"] | change
    return json.dumps({k: v for k, v in raw.items() if v is not None}).encode()


def test_a_link_gives_the_same_scenario_back(names):
    choice = state.Choice(
        model="Mixtral-8x7B", dense="Llama-3.1-70B", device="MI300X", count=16, context=100000, weights="fp8", batch=17,
        tpot=0.05, q=2.5, input=4096, output=512, prefix_hit=0.25, layout="tp=4,dp=2,ep=8", routing="zipf:1.2",
        utilisation=0.85, memory="marketed", tier="bandwidth", extend_context=True, draft=3, accept=0.7, cache="fp8",
    )  # fmt: skip
    again, complaints = state.read(state.write(choice), *names)
    assert complaints == []
    assert again == choice
    assert state.write(state.Choice()) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "/etc/passwd"), ("model", "../../x/config.json"), ("model", "hub:owner/name"), ("model", "a/b"),
        ("model", "<script>alert(1)</script>"), ("dense", "/etc/passwd"), ("device", "/tmp/device.toml"),
        ("count", "1e99"), ("count", "-1"), ("count", "1.5"), ("count", "9" * 400), ("context", "nan"), ("q", "inf"),
        ("layout", "measured:/etc/passwd"), ("routing", "measured:/etc/passwd"), ("tier", "__class__"),
        ("utilisation", "2"), ("prefix_hit", "-0.1"), ("nonsense", "1"),
    ],
)  # fmt: skip
def test_what_a_link_may_not_say_is_named_and_left_out(names, name, value):
    choice, complaints = state.read({name: value}, *names)
    assert choice == state.Choice()
    assert len(complaints) == 1
    assert len(complaints[0]) < 300


def test_the_hub_is_closed_unless_the_server_was_started_with_it(names, monkeypatch):
    choice = replace(state.Choice(), model="hub:owner/name")
    with pytest.raises(RoutelineError, match="--allow-hub"):
        answers.answer(choice)
    for bad in ("../etc/passwd", "/etc/passwd", "https://x.y/z", "a/b/c", "a/..", "a", "a/b?c"):
        with pytest.raises(RoutelineError, match="not a Hugging Face id"):
            answers.from_hub(bad)
    assert state.read({"model": "hub:owner/name"}, *names, allow_hub=True)[0].model == "hub:owner/name"


def test_paths_never_become_models_or_devices(tmp_path):
    (tmp_path / "config.json").write_bytes(config())
    for field, value in (("model", str(tmp_path)), ("dense", str(tmp_path)), ("device", str(tmp_path / "x.toml"))):
        with pytest.raises(RoutelineError, match="catalogue"):
            answers.answer(replace(state.Choice(), **{field: value}))


def test_a_good_upload_equals_the_catalogue():
    found = uploads.read_config(config(), "mine")
    choice = state.Choice(model=state.UPLOAD, device="H100 SXM", context=16384)
    mine = answers.answer(choice, found)
    same = answers.answer(replace(choice, model="Mixtral-8x7B", q=mine.q))
    assert mine.model.name == "mine"
    assert mine.moe.weight_bytes == same.moe.weight_bytes
    assert mine.throughput_ratio == same.throughput_ratio


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'"text"', b"\xff\xfe\x00", DEEP, b'{"a":' * 60 + b"1" + b"}" * 60, b'{"a": NaN}',
        b'{"hidden_size": ' + b"9" * 5000 + b"}", b"{" + b" " * 1_100_000 + b"}", b"{}",
        config(num_hidden_layers=10**9), config(num_hidden_layers=10**30), config(num_local_experts=10**12),
        config(hidden_size=-4096), config(hidden_size="<b>4096</b>"), config(hidden_size=1e308),
        config(num_attention_heads=0), config(architectures=["<img src=x onerror=alert(1)>"], model_type=None),
        config(num_local_experts=[8] * 1000), config(vocab_size=True), config(num_experts_per_tok=99),
    ],
    ids=lambda c: repr(c[:24]),
)  # fmt: skip
def test_hostile_configs_get_one_sentence(content):
    def whole():
        answers.answer(state.Choice(model=state.UPLOAD), uploads.read_config(content))

    with pytest.raises(RoutelineError) as refusal:
        whole()
    assert len(str(refusal.value)) < 600
    assert "\n" not in str(refusal.value)


def test_markdown_of_a_hostile_name_is_inert():
    pytest.importorskip("streamlit", reason="the page needs the extra [web]")
    from routeline.web.parts import md

    text = md("<script>[x](javascript:alert(1)) **b** $x$ :red[no] `c` | # ~ {a} ![i](u)\n---")
    for mark in "<>[]()*$:`|#~{}!_-":
        for i, c in enumerate(text):
            if c == mark:
                assert text[i - 1] == "\\"
    assert "\n" not in text


def test_downloads_are_the_documented_json_a_csv_and_a_report():
    found = answers.answer(state.Choice(context=8192, q=2.0))
    data = json.loads(answers.as_json(found))
    assert data["verdict"] == found.verdict
    assert data["throughput_ratio"] == pytest.approx(found.throughput_ratio, rel=1e-12)
    rows = list(csv.reader(io.StringIO(answers.as_csv(found).decode())))
    assert {r[0] for r in rows[1:]} == {"number", "ratio", "assumption"}
    assert len({len(r) for r in rows}) == 1
    assert answers.as_report(found).startswith(b"<!doctype html>")


def test_a_csv_cell_never_starts_a_formula():
    found = answers.answer(state.Choice(context=8192, q=2.0))
    bad = replace(found.assumptions[0], name="=1+1", value="@x", source="+cmd|' /C calc'!A0")
    cells = [
        c for row in csv.reader(io.StringIO(answers.as_csv(replace(found, assumptions=(bad,))).decode())) for c in row
    ]
    assert not [c for c in cells if c[:1] in ("=", "+", "@")]
    assert "'=1+1" in cells


def test_caches_are_bounded():
    for cached in (answers._shared, answers._view, answers._picture, answers._hub):
        assert cached.cache_info().maxsize is not None


def test_the_page_answers_what_the_library_answers():
    found = answers.answer(state.Choice(context=131072, weights="fp8", q=2.0))
    same = routeline.ask("DeepSeek-V3", "8xH200", context=131072.0, weights="fp8", q=2.0)
    assert found.throughput_ratio == same.throughput_ratio
    assert found.verdict == same.verdict


def test_the_view_a_visitor_sees_is_the_answer_and_refusals_travel_as_text():
    choice = state.Choice(context=8192, q=2.0, tier="ideal")
    seen, found = answers.view(choice), answers.answer(choice)
    assert seen.standing.lead.ratio == found.throughput_ratio
    assert seen.moe.rate * 8 == pytest.approx(found.moe.point.rate, rel=1e-12)
    from routeline.answer import verdict

    assert seen.sentence == verdict(found)
    with pytest.raises(RoutelineError, match="context"):
        answers.view(replace(choice, model="Mixtral-8x7B", context=10**7))
    assert answers.picture(choice, "memory")["specs"]
    assert "fit" in answers.picture(replace(choice, device="L4", count=1), "step")["refusal"]


def test_a_worker_answers_as_this_process_does_and_is_replaced_when_it_dies():
    import os
    import signal

    from routeline.web import workers

    choice = state.Choice(context=4096, q=2.0, tier="ideal")
    here = answers._compute_view(choice, None, False)
    workers.start(1)
    try:
        assert workers.run(answers._compute_view, choice, None, False) == here
        os.kill(next(iter(workers._POOL._processes)), signal.SIGKILL)
        assert workers.run(answers._compute_view, choice, None, False) == here
    finally:
        workers._POOL.shutdown(cancel_futures=True)
        workers._POOL = None
