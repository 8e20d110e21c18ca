"""What the page says: the winner of the sentence, names as text, settings instead of flags, ink for a dark page."""

from dataclasses import replace

import pytest

from routeline.web import answers, state, uploads, words

from .test_answers import config

pytest.importorskip("altair", reason="the page's charts need the extra [plots]")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"batch": 2},
        {"batch": 10**6},
        {"tpot": 0.02},
        {"tpot": 1e-6},
        {"context": 1024, "q": 4.5, "weights": "fp8"},
        {"dense": "Llama-3.1-70B"},
        {"dense": "Mixtral-8x7B"},
        {"device": "L4", "count": 1},
        {"count": 4},
        {"model": "gpt-oss-120b", "device": "MI300X", "count": 4},
        {"input": 32768, "output": 1024},
    ],
    ids=str,
)
def test_the_headline_names_the_same_winner_as_the_sentence(change):
    seen = answers.view(replace(state.Choice(tier="ideal"), **change))
    loud, said = words.headline(seen).replace("\\", ""), seen.sentence
    moe, dense = seen.standing.names
    named = {"Dense wins": ":blue", f"{dense} wins": ":blue", "MoE wins": ":orange", f"{moe} wins": ":orange",
             "A tie": "A tie", "Neither fits": ":red", "Dense by default": ":blue",
             "MoE by default": ":orange"}  # fmt: skip
    first = said.split(" instead, ")[-1]
    first = first[:1].upper() + first[1:] if first.startswith(("dense", "a tie")) else first
    begins = next(colour for text, colour in named.items() if first.startswith(text))
    assert loud.startswith(begins)
    lead = seen.standing.lead.ratio
    if begins in (":blue", ":orange") and lead is not None:
        assert f"{max(lead, 1 / lead):.3g} times" in loud
        assert f"{max(lead, 1 / lead):.3g}x the tokens/s" in said
    if change.get("batch") == 2:
        assert "batch 2" in loud
        assert seen.standing.lead.name == "equal_batch"


def test_where_whole_requests_turn_the_verdict_the_page_says_so_in_a_line_of_its_own():
    choice = state.Choice(tier="ideal", context=131072, q=4.5)
    seen, found = answers.view(choice), answers.answer(choice)
    from routeline.requests import requests

    made = requests(found)
    assert found.throughput_ratio > 1.02
    assert made.value < 0.98
    lines = [x.replace("\\", "") for x in words.turned(seen)]
    assert lines[-1].startswith(":orange[Per whole request the MoE wins")
    assert f"{1 / made.value:.3g} times the requests (128k in, 1k out, an example)" in lines[-1]
    asked = answers.view(replace(choice, input=131072, output=1024))
    assert "an example" not in "".join(words.turned(asked))


def test_the_page_speaks_of_its_settings_not_of_flags():
    assert (
        words.plainly("use --layout or --tpot") == "use the setting “layout” or the setting “limit on time per token”"
    )
    assert "--allow-hub" in words.plainly("start it with --allow-hub")
    refused = answers.picture(state.Choice(device="L4", count=1, tier="ideal"), "step")["refusal"]
    assert "--ignore-fit" in refused
    assert "--" not in words.plainly(refused)
    assert [words.up(t) for t in ("the file", "a layout", "q = 2", "gpt-oss-120b wins", "at 3")] == [
        "The file", "A layout", "q = 2", "gpt-oss-120b wins", "At 3"]  # fmt: skip


def test_a_hostile_model_name_is_inert_in_every_sentence_of_the_page():
    name = "**b** :red[x] $y$ <b>[l](javascript:1)"
    seen = answers.view(
        state.Choice(model=state.UPLOAD, device="H100 SXM", context=16384, dense="Mixtral-8x22B"),
        uploads.read_config(config(), name),
    )
    for text in (words.headline(seen), *words.turned(seen)):
        for mark in ("**", "<b>", "$y$", "](java"):
            assert mark not in text


def test_on_a_dark_page_ink_and_ground_change_and_data_do_not():
    from routeline.plots import theme
    from routeline.web.night import GROUND, INK, SHADES, night

    for name in ("memory", "map", "throughput", "evidence", "waterfall"):
        for spec in answers.picture(state.Choice(tier="ideal", q=2.0), name)["specs"]:
            dark = night(spec)
            assert rows(dark) == rows(spec)
            left = {c for c in strings(dark) if c in SHADES and c not in SHADES.values()}
            assert not left & {theme.INK, theme.GROUND, theme.MUTED, theme.FAINT}
            assert INK in strings(dark)
    assert GROUND not in (theme.GROUND, theme.INK)


def rows(spec):
    if isinstance(spec, dict):
        own = [spec["data"]] if "data" in spec else []
        return own + [r for v in spec.values() for r in rows(v)]
    return [r for v in spec for r in rows(v)] if isinstance(spec, list) else []


def strings(spec):
    """Every text of a specification outside its data."""
    if isinstance(spec, dict):
        return {x for k, v in spec.items() if k != "data" for x in strings(v)}
    if isinstance(spec, list):
        return {x for v in spec for x in strings(v)}
    return {spec} if isinstance(spec, str) else set()


def test_the_server_is_local_quiet_and_shows_no_source():
    from routeline.web.launch import settings

    found = settings("127.0.0.1", 8501)
    assert found["server.address"] == "127.0.0.1"
    assert found["browser.gatherUsageStats"] is False
    assert found["server.maxUploadSize"] == 1
    assert found["server.enableStaticServing"] is False
    assert found["client.showErrorDetails"] == "none"
    assert "theme.base" not in found  # the page follows the visitor's preference for light or dark
    assert settings("0.0.0.0", 8501)["server.allowedHosts"] == []
