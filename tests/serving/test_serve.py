"""The closed loop and the checkpoints it serves: what arrives together, what a label stores, whose kernels run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from routeline.kernels import CODES
from routeline.models import load_model
from routeline.serving import checkpoint, constants, predict
from routeline.serving.serve import serve


def prepared(**change):
    row = {"model": "Qwen3-32B", "device": "H100", "devices": 4, "tp": 4, "engine": "sglang", "weights": "bf16",
           "input_len": 2048, "output_len": 256, "concurrency": 64} | change  # fmt: skip
    return predict.prepare({k: [v] for k, v in row.items()})


def served(pre, **change):
    k = predict.row_constants(pre) | {n: np.array([v]) for n, v in change.items()}
    return serve(pre.table, k, pre.load)


def test_requests_that_arrive_together_wait_for_each_other_once():
    """Alone prompts run before any decoding: of C prompts sent together a request sees half after its own, while in
    a loop of staggered requests it sees all of them during its decoding."""
    pre = prepared()
    apart, together = served(pre, **{"ttft.burst": 0.0}), served(pre, **{"ttft.burst": 1.0})
    ratio = together.interference / apart.interference
    assert 0.45 < float(ratio[0]) < 0.6
    assert together.ttft > 3 * apart.ttft
    mixed = prepared(engine="vllm")  # chunked prefill interleaves: a request still sees every other that decodes
    apart, together = served(mixed, **{"ttft.burst": 0.0}), served(mixed, **{"ttft.burst": 1.0})
    fewer = (together.decoding - 1.0) / (apart.decoding - 1.0)
    assert together.interference / apart.interference == pytest.approx(fewer, rel=0.05)


def test_one_request_alone_has_no_burst():
    pre = prepared(concurrency=1)
    apart, together = served(pre, **{"ttft.burst": 0.0}), served(pre, **{"ttft.burst": 1.0})
    assert together.ttft == pytest.approx(apart.ttft, rel=1e-6)
    assert together.tpot == pytest.approx(apart.tpot, rel=0.01)


def ffn(model):
    held = {w.format: w.bits for g in model.layers for w in g.weights if w.part == "routed" and w.matmul}
    (fmt,) = held
    return fmt, held[fmt]


def test_a_label_names_what_vendors_publish_under_it():
    kimi = load_model("Kimi-K2.5")
    assert ffn(kimi) == ("bf16", 4.5)  # int4 weights, computed in 16 bits
    assert checkpoint.checkpoint(kimi, "int4") == kimi
    assert ffn(checkpoint.checkpoint(kimi, "nvfp4")) == ("fp4", 4.5)
    assert ffn(checkpoint.checkpoint(load_model("gpt-oss-120b"), "nvfp4")) == ("fp4", 4.25)
    block = checkpoint.checkpoint(load_model("Qwen3-235B-A22B"), "fp8")
    tensor = checkpoint.checkpoint(load_model("Mixtral-8x7B"), "fp8")
    assert ffn(block)[1] > 8.0 == ffn(tensor)[1]


def test_experts_run_on_the_kernels_of_their_engine_and_format():
    found = constants.prior_rows(["hopper"] * 4, ["vllm", "sglang", "", "llama.cpp"])
    t0 = found["moe.t0"]
    block = CODES.index("fp8_block")
    assert t0[0, block] != t0[1, block]
    engines = [constants.experts("hopper", e, "t0")[block] for e in ("vllm", "sglang", "trtllm")]
    assert t0[2, block] == pytest.approx(np.exp(np.mean(np.log(engines))))  # an engine that is not known: their mean
    plain = next(c for c in constants.priors()["constants"] if c["name"] == "moe.t0")["hopper"]
    scale = constants.priors()["engines"]["llama.cpp"]["moe.t0"]
    assert t0[3, 0] == pytest.approx(plain[0] * scale)  # no table is llama.cpp's
    assert np.all(np.isfinite(t0))


def test_tables_that_serve_cover_the_formats_that_are_served():
    for kind, engine, fmt in (
        ("hopper", "vllm", "fp8_block"), ("hopper", "sglang", "fp8_block"), ("hopper", "trtllm", "fp8_block"),
        ("blackwell", "vllm", "fp4"), ("blackwell", "sglang", "fp8_block"), ("blackwell", "vllm", "mxfp4"),
    ):  # fmt: skip
        assert np.isfinite(constants.experts(kind, engine, "eta")[CODES.index(fmt)]), (kind, engine, fmt)


def test_a_device_of_another_class_scales_its_own_way():
    here, there = (constants.prior_rows([g], ["tgi"]) for g in ("hopper", "cdna3"))
    scale = constants.priors()["generations"]["cdna3"]["scale"]["gemm.eta"]
    assert there["gemm.eta"] == pytest.approx(here["gemm.eta"] * scale)


def test_an_engine_moves_on_a_class_of_its_own_beyond_the_class():
    plain, vllm = (constants.prior_rows(["cdna3"], [e])["gemm.eta"] for e in ("tgi", "vllm"))
    factors = constants.by_format(constants.priors()["engines"]["vllm"]["on"]["cdna3"]["gemm.eta"])
    assert vllm == pytest.approx(plain * factors)


def test_speculation_counts_what_is_accepted():
    pre = prepared(concurrency=1, output_len=64)
    k = predict.row_constants(pre)
    plain = serve(pre.table, k, pre.load).tpot
    double = replace(pre.load, accepted=np.array([2.0]))
    assert serve(pre.table, k, double).tpot == pytest.approx(plain / 2.0, rel=0.02)
