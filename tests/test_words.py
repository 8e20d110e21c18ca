"""The answer in words: nothing it says contradicts its numbers, whoever wins and whatever was asked."""

import re
from functools import partial

import pytest

from routeline import answer as say
from routeline import ask
from routeline.fair import leads, what_matters

Ideal = partial(ask, tier="ideal")


def words(answer):
    return say.headline(answer), say.how_sure(answer), say.still_open(answer)


def test_the_headline_is_one_sentence_and_the_rest_follows_it():
    answer = Ideal("DeepSeek-V3", "8xH200", context="32k")
    head, sure, rest = words(answer)
    assert re.fullmatch(r"(Dense|MoE) wins: [^;]+\.", head)
    assert head.count(". ") == 0
    assert answer.sentence == f"{head} {sure} {rest}"
    assert rest.startswith("Not established: ")


@pytest.mark.parametrize("q", [1.2, 2.0, 2.05, 2.1, 2.2, 3.0, 6.0])
def test_a_lead_is_never_called_one_times_and_a_tie_never_a_lead(q):
    """Mixtral on four L40S goes from dense to tie to MoE over q; '1x' and 'only 0.99x' were said of ties once."""
    answer = Ideal("Mixtral-8x7B", "4xL40S", context="4k", q=q, input="4k", output="1k")
    head, _, rest = words(answer)
    assert not re.search(r"(leads by|serves|only) 1x", head + rest)
    assert not re.search(r"only 0\.\d+x", head)
    for name, ratio in answer.ratios.items():
        if leads(ratio.value) == "neither":
            assert f"{say.words.NAMES[name]} dense leads" not in head
            assert f"{say.words.NAMES[name]} the MoE leads" not in head


def test_a_dense_model_without_an_opponent_has_nothing_to_decide():
    head, sure, rest = words(ask("Llama-3.1-70B", "8xH100"))
    assert head.startswith("Nothing to decide: Llama-3.1-70B is dense and its own match")
    assert (sure, rest) == ("", "")
    answer = ask("Llama-3.1-70B", "8xH100")
    assert say.turns(answer, say.extras(answer)) == ""


def test_two_moes_are_called_by_name():
    answer = Ideal("DeepSeek-V3", "8xB200", context="32k", dense="Qwen3-235B-A22B")
    head, sure, rest = words(answer)
    assert re.match(r"(DeepSeek-V3|Qwen3-235B-A22B) wins: it serves", head)
    shown = [*say.break_even_rows(answer, known := say.extras(answer)), *say.choice_rows(answer, known)]
    shown += [say.request_line(answer, known), head, sure, rest]
    assert not [text for text in map(str, shown) if re.search(r"\b(dense|MoE|the MoE) (leads|ahead|does not)", text)]


def test_a_layout_that_does_not_hold_a_side_is_not_called_too_few_devices():
    """dp8,ep8 means eight whole copies of the dense model: one does not fit on a device, two devices would do."""
    answer = Ideal("DeepSeek-V3", "8xH200", layout="dp8,ep8", q=4.7)
    assert answer.verdict == "dense_infeasible"
    assert answer.dense.reason == (
        "in layout tp=1,replicas=8 not even one sequence fits beside the weights; --layout auto holds it"
    )
    assert "does not run as asked" in words(answer)[0]
    assert "divide" not in words(answer)[0]
    assert ask("DeepSeek-V3", "8xH200", tier="ideal", q=4.7).dense.fits


def test_what_does_not_fit_is_listed_without_a_layout():
    head = words(Ideal("Switch-C", "8xH100", context=512))[0]
    assert head.startswith("Dense by default: Switch-C does not fit and needs 48 of these devices")
    assert "none" not in head


@pytest.mark.parametrize("asked", [{"batch": 64}, {"tpot": 20e-3}, {}])
def test_what_turns_the_verdict_is_asked_of_the_ratio_that_was_asked_for(asked):
    answer = Ideal("Qwen3-30B-A3B", "8xH100", q=4.0, **asked)
    name = {"batch": "equal_batch", "tpot": "tpot"}.get(next(iter(asked), ""), "max_batch")
    lead = leads(answer.ratios[name].value)
    for choice in what_matters(answer):
        if choice.ratio is not None:
            assert choice.flips == (leads(choice.ratio) != lead), choice
    fp8 = next(c for c in what_matters(answer) if c.name == "cache format")
    assert fp8.given == "bf16"
    again = Ideal("Qwen3-30B-A3B", "8xH100", q=4.0, cache="fp8", **asked)
    assert fp8.ratio == pytest.approx(again.ratios[name].value, rel=1e-12)


def test_the_share_of_the_evidence_is_the_probability_of_the_leader():
    answer = Ideal("DeepSeek-V3", "8xH200")
    known = say.extras(answer)
    (flip,) = [f for f in known.odds.flips if f.ratio == "max_batch"]
    share = answer.q_evidence.cdf(flip.q)
    assert f"Dense leads at every q below {flip.q:.3g}, where {100 * share:.0f}% of the evidence lies" in say.how_sure(
        answer
    )
    assert say.how_sure(Ideal("DeepSeek-V3", "8xH200", q=2)) == ""


def test_layouts_name_the_expert_cut_only_where_experts_are_spread():
    answer = ask("DeepSeek-V3", "8xH200", layout="tp8", q=2, tier="ideal")
    assert str(answer.moe.point.layout) == "tp=8"
    assert (
        str(ask("DeepSeek-V3", "8xH200", layout="tp8,ep2", q=2, tier="ideal").moe.point.layout) == "tp=8,ep=2,moe_tp=4"
    )


def test_requests_are_tabled_with_their_own_throughput():
    """Output tokens over prefill and decode: the two rates give R, and prefill makes them smaller than decode alone."""
    answer = Ideal("DeepSeek-V3", "8xH200", q=4, input="8k", output="1k")
    row = next(r for r in say.ratio_rows(answer) if r[0].startswith("per request"))
    moe, dense = (float(x.replace(",", "")) for x in row[3].split(" / "))
    assert dense / moe == pytest.approx(answer.ratios["request"].value, rel=2e-3)
    assert moe < answer.ratios["request"].moe.rate


def test_an_open_interval_is_said_in_words_and_a_minority_is_not_called_every():
    """Under equal FLOP q may be infinite, and the median may lie where few values of q agree with it."""
    answer = Ideal("Qwen3-235B-A22B-NVFP4", "16xA100", layout="tp=2,ep=2", convention="equal-flop", tpot="200ms")
    _, sure, rest = words(answer)
    assert "and no dense match" in sure
    assert "inf" not in sure + rest
    known = say.extras(answer)
    moe = 1 - known.odds.p_above["tpot"] - known.odds.p_unfit["tpot"]
    assert answer.ratios["tpot"].value < 0.98
    assert moe < 0.5
    assert f"the MoE leads only at q above 10.3, where {100 * moe:.0f}% of the evidence lies" in sure
    assert rest.startswith(f"Not established: q ({100 * moe:.0f}% of the evidence agrees)")


def test_a_step_over_the_edge_of_a_tie_turns_nothing():
    answer = Ideal("Switch-C", "72xGB200", context=512)
    known = say.extras(answer)
    base = answer.throughput_ratio
    for choice in known.choices:
        if choice.ratio is not None and abs(choice.ratio / base - 1) <= 0.02:
            assert f"{choice.name} {choice.instead} (" not in say.turns(answer, known)


def test_a_lead_that_hangs_on_layouts_no_engine_was_measured_in_says_so_first():
    answer = ask("DeepSeek-V3", "8xH200", context="32k")
    head, sure, rest = words(answer)
    plain = next(c for c in what_matters(answer) if c.name == "layout without cp/pp")
    assert plain.flips
    assert head.startswith("Dense wins only with context or pipeline parallelism: ")
    assert f"; in layouts without either the MoE leads by {1 / plain.ratio:.3g}x" in head
    assert sure.startswith("In these layouts dense leads")
    assert "no measured deployment" in rest
    assert "without cp and pp" not in say.turns(answer, say.extras(answer))  # said once
    held = ask("DeepSeek-V3", "8xH200", context="32k", layout="tp8")
    assert say.headline(held).startswith("Dense wins: ")


def test_what_agrees_is_not_listed_as_open():
    answer = ask("gpt-oss-120b", "1xH100", context="8k")
    known = say.extras(answer)
    assert leads(known.request.value) == leads(answer.throughput_ratio)
    assert "whole requests" not in say.still_open(answer, known)


def test_a_side_that_stops_fitting_turns_nothing_where_the_other_leads():
    answer = ask("DeepSeek-V3", "8xMI300X", context="128k", weights="bf16", utilisation=0.95, memory="marketed",
                 layout="pooled", q=2, tier="bandwidth")  # fmt: skip
    wide = next(c for c in what_matters(answer) if c.instead == "dp=8,ep=8")
    assert (wide.verdict, wide.flips) == ("moe_infeasible", False)
    fleet = ask("DeepSeek-V3", "8xH200", context="32k")
    lost = next(c for c in what_matters(fleet) if c.instead == "dp=8,ep=8")
    assert (lost.verdict, lost.flips) == ("dense_infeasible", True)


def test_the_error_stated_is_that_of_the_family_or_device_where_it_is_larger():
    from routeline.answer.stated import tier_error, tier_errors

    deep, other = ask("DeepSeek-V3", "8xH200", context="8k"), ask("Mixtral-8x7B", "8xB200", context="8k")
    found = tier_errors(deep)
    assert set(found) == {"all", "H200 SXM", "DeepSeek"}
    assert tier_error(deep) == max(found.values()) > found["all"]
    assert tier_error(other) == tier_errors(other)["all"]
    assert tier_error(Ideal("DeepSeek-V3", "8xH200", context="8k")) is None


def test_a_verdict_comes_apart_into_what_it_was_made_of():
    for answer in (ask("DeepSeek-V3", "8xH200", context="32k"), ask("DeepSeek-V3", "4xH200", context="32k"),
                   Ideal("Mixtral-8x7B", "4xL40S", context="4k", q=2.05), Ideal("Llama-3.1-8B", "8xH200")):  # fmt: skip
        lead, sure, rest = say.words.parted(answer.sentence)
        head, how, open_ = words(answer)
        assert (lead, sure) == (head, how)
        assert rest == open_.removeprefix("Not established: ")


def test_a_tie_leads_nowhere_but_says_where_the_sides_change():
    answer = ask("Mixtral-8x7B", "4xMI300X", context="16k", tier="calibrated")
    head, sure, _ = words(answer)
    assert leads(answer.throughput_ratio) == "neither", answer.throughput_ratio
    assert head.startswith("A tie: ")
    assert " leads " not in sure
    assert re.search(r"is ahead below q = .*, .* above; .* of the evidence is for", sure)


def test_a_dense_model_with_a_vision_tower_is_its_own_match():
    answer = ask("Qwen3-VL-8B", "1xH100")
    assert answer.q == 1.0
    assert say.headline(answer).startswith("Nothing to decide: ")


def test_the_error_of_unmeasured_devices_is_that_of_published_rows():
    from routeline.answer.stated import tier_error, tier_words
    from routeline.serving.constants import priors

    answer = ask("Mixtral-8x7B", "4xMI300X", context="16k", tier="calibrated")
    assert tier_error(answer) == priors()["published"]["throughput_mape"]
    assert "unmeasured devices: at least 19%" in tier_words(answer)


def test_more_flips_than_are_named_are_counted():
    answer = ask("Mixtral-8x7B", "4xMI300X", context="16k", tier="calibrated")
    every = [c for c in what_matters(answer) if c.flips and abs(c.ratio / answer.throughput_ratio - 1.0) > 0.02]
    assert len(every) > 4
    assert say.turns(answer, say.extras(answer)).endswith(f" and {len(every) - 4} more.")


def test_what_cannot_be_met_is_followed_by_a_sentence_and_names_stay_as_they_are():
    head = say.headline(Ideal("DeepSeek-V3", "8xH200", context="8k", tpot="1us"))
    assert re.match(r"No answer within .* per token \(.*\); at largest batches instead, (dense|MoE) wins", head)
    named = say.headline(Ideal("DeepSeek-V3", "8xH200", context="8k", tpot="1us", dense="Llama-3.1-70B"))
    assert re.search(r"instead, (dense|MoE|Llama-3\.1-70B|DeepSeek-V3) wins", named)
    moes = say.headline(Ideal("DeepSeek-V3", "8xH200", context="8k", tpot="1us", dense="Mixtral-8x7B"))
    assert re.search(r"instead, (Mixtral-8x7B|DeepSeek-V3) wins", moes)
