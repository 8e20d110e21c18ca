"""Whole requests: the model's worked figures, conservation, limits, refusals."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from handmade import deepseek_v3
from routeline import requests
from routeline.compare import compare
from routeline.devices import parse_devices
from routeline.errors import RoutelineError
from routeline.models import load_model
from routeline.scenario import Scenario

Ideal = partial(Scenario, tier="ideal")
"""Bounds do not move when constants are fitted anew; the calibrated tier has tests of its own."""

MODEL = deepseek_v3()
PAPER = Ideal(
    context=131072.0, weights="bf16", cache="bf16", memory="marketed", tier="bandwidth", layout="pooled",
    utilisation=0.95, input=131072.0, output=1024.0,
)  # fmt: skip


def run(devices, scenario, q=2.0, model=MODEL, **more):
    return compare(model, parse_devices(devices), scenario, q=q, **more)


@pytest.mark.parametrize(("q", "request_", "decode"), [(2.0, 0.99, 4.53), (4.5, 0.71, 3.87)])
def test_prefill_turns_the_verdict_at_128k_in_1k_out(q, request_, decode):
    """docs/physics.md section 6, on 8xMI300X BF16, .95 marketed, pooled, peak compute."""
    answer = run("8xMI300X", PAPER, q)
    assert answer.throughput_ratio == pytest.approx(decode, abs=0.005)
    ratio = answer.ratios["request"]
    assert ratio.value == pytest.approx(request_, abs=0.005)
    found = ratio.detail
    assert found.decode == pytest.approx(decode, rel=0.01)
    assert found.prefill < 1.0
    assert ratio.moe.batch == 12
    assert f"R = {found.value:.3g}" in requests.sentence(found)


def test_the_request_by_hand():
    """Prefill: 2 FLOP a parameter and token at 8 x 1307.4 TFLOP/s; decode: output steps shared by the batch."""
    found = run("8xMI300X", PAPER).ratios["request"].detail
    n = 131072.0
    linear = 2.0 * (37.552282624e9 - 2 * 0.92667904e9) * n
    attention = 61 * 81920 * n * (n + 1) / 2
    assert found.moe.prefill == pytest.approx((linear + attention) / (8 * 1307.4e12), rel=2e-4)
    assert found.moe.decode == pytest.approx(1024 * 13.15e-3 / 12, rel=1e-3)
    assert found.value == pytest.approx(
        (found.moe.prefill + found.moe.decode) / (found.dense.prefill + found.dense.decode), rel=1e-12
    )


def test_the_ratio_lies_between_its_two_phases():
    for devices, layout in (("8xH200", "auto"), ("8xH200", "pooled"), ("2x8xH100", "auto")):
        scenario = Ideal(context=16384.0, weights="fp8", layout=layout, input=16384.0, output=2048.0)
        found = run(devices, scenario).ratios["request"].detail
        low, high = sorted((found.prefill, found.decode))
        assert low <= found.value <= high
        assert 0 < found.moe.prefill_share < 1


def test_limits_of_the_shape():
    """All output: decode alone; everything cached: decode dominates; one output token: prefill alone."""
    base = replace(PAPER, context=8192.0, weights="fp8")
    decode = run("8xH200", replace(base, input=1.0, output=100000.0)).ratios["request"].detail
    assert decode.value == pytest.approx(decode.decode, rel=1e-3)
    prompt = run("8xH200", replace(base, input=100000.0, output=1.0)).ratios["request"].detail
    assert prompt.value == pytest.approx(prompt.prefill, rel=1e-2)
    shares = []
    for hit in (0.0, 0.5, 0.9, 1.0):
        answer = run("8xH200", replace(base, input=32768.0, output=512.0, prefix_hit=hit))
        shares.append(answer.ratios["request"].detail.moe.prefill_share)
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.05


def test_longer_outputs_bring_back_the_decode_verdict():
    answer = run("8xMI300X", PAPER)
    mix = requests.token_mix(answer, [1 / 1024, 1 / 128, 1 / 16])
    assert np.all(np.diff(mix["R"]) > 0)
    assert mix["R"][1] == pytest.approx(answer.ratios["request"].value, rel=1e-9)
    assert np.all(np.diff(mix["moe_prefill_share"]) < 0)


def test_mixing_phases_saves_at_most_the_shared_weight_reads():
    for q in (2.0, 4.5):
        found = run("8xMI300X", PAPER, q).ratios["request"].detail
        for side in (found.moe, found.dense):
            assert 0.5 * side.total < side.mixed <= side.total * 1.001


def test_many_shapes_are_single_shapes():
    answer = run("8xH200", Ideal(context=8192.0, weights="fp8", input=8192.0, output=256.0))
    outputs = np.array([16.0, 256.0, 4096.0])
    side = answer.moe
    many = requests.cheapest(side.counted, answer.ground, side.options, requests.Shape(input=8192.0, output=outputs))
    for i, output in enumerate(outputs):
        one = requests.best(
            side.counted, answer.ground, side.options, requests.Shape(input=8192.0, output=float(output))
        )
        assert many.total[i] == pytest.approx(one.total, rel=1e-12)


def test_a_model_against_itself_is_one_per_request():
    scenario = Ideal(context=8192.0, weights="fp8", input=8192.0, output=256.0)
    assert run("8xH200", scenario, opponent=MODEL).ratios["request"].value == 1.0


def test_unasked_the_shape_is_the_context_in_and_1k_out():
    answer = run("8xH200", Ideal(context=32768.0, weights="fp8"))
    assert "request" not in answer.ratios
    found = requests.requests(answer)
    assert (found.shape.input, found.shape.output, found.shape.assumed) == (32768.0, 1024.0, ("input", "output"))
    assert found.value is not None


def test_an_encoder_decoder_request_keeps_its_prompt_in_the_encoder():
    """Switch-C on 8 B300 in FP8: the decoder's context is the output, the encoder's the input."""
    answer = compare(
        load_model("Switch-C"),
        parse_devices("8xB300"),
        Ideal(context=512.0, weights="fp8", input=512.0, output=64.0),
        q=12.0,
    )
    assert answer.moe.fits
    found = answer.ratios["request"].detail
    assert found.value is not None
    assert found.prefill < 1.0  # the dense model does more work per prompt token, and nothing else


def test_a_mix_that_never_fits_is_refused():
    with pytest.raises(RoutelineError, match="no token mix at 8,192 tokens in lets both sides fit"):
        requests.token_mix(run("1xH200", Ideal(context=8192.0, weights="fp8")), [0.1])


def test_what_does_not_fit_is_said():
    answer = run("1xH200", Ideal(context=8192.0, weights="fp8", input=8192.0, output=64.0))
    ratio = answer.ratios["request"]
    assert ratio.value is None
    assert "DeepSeek-V3 does not fit" in ratio.reason


def test_bad_requests_are_refused():
    with pytest.raises(RoutelineError, match="output must be between 1"):
        Ideal(output=0.0)
    for hit in (-0.1, 1.5):
        with pytest.raises(RoutelineError, match="prefix_hit must be between 0 and 1"):
            Ideal(prefix_hit=hit)
    with pytest.raises(RoutelineError, match="past the limit of DeepSeek-V3"):
        run("8xH200", replace(PAPER, weights="fp8", input=163840.0, output=100.0))
    extended = replace(PAPER, weights="fp8", input=163840.0, output=100.0, extend_context=True)
    assert any("past the limit" in w for w in run("8xH200", extended).warnings)
    answer = run("8xH200", Ideal(context=8192.0, weights="fp8"))
    with pytest.raises(RoutelineError, match="positive number of output tokens"):
        requests.token_mix(answer, [0.0])
