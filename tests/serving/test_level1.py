"""Level 1 without the measured tables: loads of the collector's routing, tiles, formulas' limits and the fit itself."""

from __future__ import annotations

import numpy as np
import pytest

from routeline import kernels
from routeline.serving import constants
from routeline.serving.level1 import (
    attention,
    decode,
    exchange,
    moe_points,
    prefill,
    robust,
    routing,
    served,
    tables,
    tiles,
)


def test_missing_tokens_go_to_the_emptiest_experts_and_surplus_leaves_the_fullest():
    assert routing.fill(np.array([0, 1, 3]), 3, 9).tolist() == [2, 2, 3]
    assert routing.fill(np.array([0, 1, 3]), 20, 3).tolist() == [3, 3, 3]
    assert routing.cut(np.array([1, 4, 6]), 5).tolist() == [1, 2, 3]


def test_power_law_loads_worked_by_hand():
    # 4 experts, 2 tokens, top-1: T*k = 2 <= E, so the law on [0.01, 2], exponent 2: x = 1/(100 - 99.5u)
    # u = 1/8, 3/8, 5/8, 7/8: 0.0114, 0.0160, 0.0264, 0.0773; times 2/0.1311: 0.17, 0.24, 0.40, 1.18 -> 0, 0, 0, 1
    # one pair is missing: the first of the emptiest gets it
    assert routing.power_law(4, 2, 1, 2.0).tolist() == [1, 0, 0, 1]
    # 8 tokens, top-2: [1, 6.4], exponent 2: x = 1/(1 - 0.84375u): 1.118, 1.463, 2.116, 3.821 of 8.517, times 16:
    # 2.10, 2.75, 3.97, 7.18 -> 2, 3, 4, 7; nothing exceeds 8 tokens, nothing is missing
    assert routing.power_law(4, 8, 2, 2.0).tolist() == [2, 3, 4, 7]


@pytest.mark.parametrize("alpha", [1.01, 1.2])
@pytest.mark.parametrize(("experts", "top_k"), [(8, 2), (128, 8), (512, 10)])
@pytest.mark.parametrize("tokens", [1, 7, 64, 1000])
def test_loads_hold_every_pair_and_no_expert_sees_a_token_twice(experts, top_k, tokens, alpha):
    loads = routing.power_law(experts, tokens, top_k, alpha)
    assert loads.sum() == tokens * top_k
    assert loads.max() <= tokens
    assert loads.min() >= 0


def test_one_token_touches_its_top_k_and_a_steeper_law_makes_hotter_experts():
    assert routing.load(256, 1, 8, "power_law_1.2").touched == 8
    mild, steep = (routing.load(256, 512, 8, f"power_law_{a}") for a in (1.01, 1.2))
    assert steep.hottest > 1.3 * mild.hottest
    # an unlimited draw of 128 tokens would touch 252 experts of 256 (uniform); the table's skew leaves about 210
    assert 200 < routing.load(256, 128, 8, "power_law_1.01").touched < 220


def test_balanced_deals_evenly_and_a_limited_router_reaches_half_of_it():
    even = routing.load(256, 64, 8, "balanced")
    assert (even.touched, even.hottest) == (256, 2)
    # every token wants one expert of each of the 8 groups and may use 4 groups: half of its experts remain
    half = routing.load(256, 64, 8, "balanced", True)
    assert half.touched == pytest.approx(128, abs=8)
    picks = routing.chosen(256, 64, 8, "balanced")
    assert routing.limited(256, picks).sum() == 64 * 8
    one_group = np.tile(np.arange(8), (5, 1))
    assert routing.limited(256, one_group)[:8].tolist() == [5] * 8


def test_chosen_experts_of_a_token_differ_and_carry_the_loads():
    picks = routing.chosen(64, 40, 4, "power_law_1.2", seed=3)
    assert all(len(set(row)) == 4 for row in picks)
    assert sorted(np.bincount(picks.ravel(), minlength=64)) == sorted(routing.power_law(64, 40, 4, 1.2))


def _points(**columns: list[float]) -> dict[str, np.ndarray]:
    q = {name: np.array(values, float) for name, values in columns.items()}
    q["routing"] = np.full(len(q["tokens"]), "power_law_1.2")
    moe_points.route(q)
    return q


def test_tiles_pad_tokens_by_rule():
    q = _points(tokens=[1, 64, 65, 4096], experts=[64] * 4, top_k=[8] * 4, inter=[192] * 4)
    tile = lambda **rule: tiles.tile_tokens(q["tokens"], q["pairs"], q["experts"], rule).tolist()  # noqa: E731
    assert tile(by="tokens", limit=64, low=16, high=64) == [16, 16, 64, 64]
    assert tile(by="experts", low=16, high=64) == [16, 16, 64, 64]
    # mean tokens an expert: 1/8, 8, 8.125, 512 -> next power of two within limits
    assert tile(by="mean", times=1, low=8, high=64) == [8, 8, 16, 64]
    assert tile(by="mean", times=2, low=8, high=128) == [8, 16, 32, 128]
    assert tile(by="fixed", low=32, high=32) == [32, 32, 32, 32]
    assert tiles.tile_tokens(65.0, 520.0, 64.0, {"by": "mean", "times": 1, "low": 8, "high": 64}) == 16.0
    padded = tiles.padded_pairs(q, {"by": "fixed", "low": 64, "high": 64})
    assert padded[0] == 8 * 64
    assert all(padded >= q["pairs"])
    assert tiles.padded_columns(q, 128.0).tolist() == [256.0] * 4
    assert tiles.padded_columns(q, 1.0).tolist() == [192.0] * 4


CONSTANTS = {"t0": 2e-5, "eta": 0.8, "f": 0.5, "p": 2.0, "per_expert": 1e-8, "shuffle": 2.0, "narrow": 50.0}


def test_moe_time_has_its_two_limits():
    seconds = lambda pairs, touched, **more: kernels.moe_seconds(  # noqa: E731
        pairs, touched, 4096.0, 1024.0, 3.0, 1.0, 1e15, 4e12, CONSTANTS, **more
    )
    few = seconds(8.0, 8.0) - CONSTANTS["t0"] - 8e-8
    assert few == pytest.approx(8 * 3 * 4096 * 1024 / 4e12 / 0.8 * (1 + 50 / 1024), rel=0.02)
    many = seconds(1e7, 8.0)
    assert many == pytest.approx(2 * 3 * 4096 * 1024 * 1e7 / 5e14 + 2 * 1e7 * 5120 * 2 / 4e12, rel=0.01)
    assert seconds(64.0, 64.0, padded=64.0 * 128) > seconds(64.0, 64.0)
    assert seconds(64.0, 64.0, padded=64.0) == seconds(64.0, 64.0)
    wide = kernels.moe_seconds(1e7, 8.0, 4096.0, 1024.0, 3.0, 1.0, 1e15, 4e12, CONSTANTS | {"wide": 1024.0})
    assert wide > 1.7 * many


def test_untuned_distributions_are_found_at_one_token():
    q = {
        "hidden": np.full(4, 4096.0), "inter": np.full(4, 512.0), "experts": np.full(4, 64.0),
        "top_k": np.full(4, 8.0), "tokens": np.array([1.0, 1.0, 64.0, 64.0]),
        "routing": np.array(["a", "b", "a", "b"]), "seconds": np.array([1.0, 1.4, 5.0, 5.0]),
    }  # fmt: skip
    assert moe_points.untuned(q).tolist() == [False, True, False, True]
    q["seconds"][1] = 1.1
    assert not moe_points.untuned(q).any()


def test_a_shape_that_beats_its_roofline_is_put_behind_the_limited_router_or_left_out():
    tokens = [16.0, 32.0, 64.0, 128.0]
    q = _points(hidden=[7168] * 4, width=[2048] * 4, inter=[2048] * 4, experts=[256] * 4, top_k=[8] * 4, tokens=tokens)
    q["routing"][:] = "balanced"
    moe_points.route(q)
    bound = lambda p: moe_points.bound(p, 1.0, 2e15, 3e12)  # noqa: E731
    shape = (7168.0, 2048.0, 256.0, 8.0)
    q["seconds"] = 1.1 * bound(q)
    fast = lambda p: p["seconds"] <= 0.97 * bound(p)  # noqa: E731
    assert moe_points.limited(False, q, fast) == ([], [])
    q["seconds"] = 0.6 * bound(q)
    assert moe_points.limited(False, q, fast) == ([shape], [])
    q["seconds"] = 0.2 * bound(q)
    assert moe_points.limited(False, q, fast) == ([], [shape])


def test_the_fit_recovers_constants_despite_outliers():
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(0, 8, 600))
    truth = {"a": 2e-6, "b": 3e-9}
    model = lambda c, at: c["a"] + c["b"] * x[at]  # noqa: E731
    measured = model(truth, np.arange(600)) * np.exp(0.02 * rng.standard_normal(600))
    measured[::17] *= 3.0
    found = robust.solve(model, {"a": robust.Prior(1e-5), "b": robust.Prior(1e-8)}, measured, np.arange(600))
    assert found.constants["a"] == pytest.approx(truth["a"], rel=0.03)
    assert found.constants["b"] == pytest.approx(truth["b"], rel=0.03)


def test_a_curve_bends_what_the_physics_misses_and_is_linear_between_knots():
    basis = robust.hat(np.array([0.0, 0.25, 2.0, 9.0]), 4)
    assert basis[1].tolist() == [0.75, 0.25, 0.0, 0.0]
    assert np.allclose(basis.sum(1), 1.0)
    assert basis[3, 3] == pytest.approx(1.0)
    x = np.linspace(0, 3, 400)
    bump = np.exp(0.3 * np.maximum(0.0, 1.0 - np.abs(x - 2.0)))
    model = lambda c, at: np.full(len(at), c["a"])  # noqa: E731
    found = robust.solve(model, {"a": robust.Prior(1.0)}, bump, np.arange(400), robust.hat(x, 4))
    fitted = found.constants["a"] * np.exp(robust.hat(x, 4) @ found.curve)
    assert np.median(np.abs(fitted / bump - 1)) < 0.01


def test_the_verdict_looks_at_the_bound_and_the_held_out_error():
    parts = robust.split(np.ones(100, bool), np.arange(100) < 6, np.arange(100) % 5 == 0)
    assert robust.verdict(parts, 0.01) == "too many points above the roofline"
    parts = robust.split(np.ones(100, bool), np.arange(100) < 5, np.arange(100) % 5 == 0)
    assert robust.verdict(parts, 0.01) == ""
    assert robust.verdict(parts, 0.3) == "no kernel physics describes it"
    assert robust.verdict(parts, None) == "too few points"
    assert set(parts.train) & set(parts.held) == set()
    assert len(parts.test) == 19


def test_one_kernel_is_served_per_device_engine_and_format():
    base = {"device": "b200_sxm", "engine": "trtllm", "version": "1.3.0rc20", "dtype": "nvfp4", "used": 100}
    base["constants"] = {}
    vllm = base | {"engine": "vllm"}
    made = served.mark(
        [
            base | {"kernel": "moe_torch_flow_cutlass", "used": 900},
            base | {"kernel": "moe_torch_flow_min_latency"},
            vllm | {"version": "0.24.0", "kernel": "x_trtllm_y"},
            vllm | {"version": "0.19.0", "kernel": "z_trtllm"},
        ]
    )
    assert [e.get("serves", False) for e in made] == [False, True, False, True]


H100 = tables.Machine({"bf16": 1e15, "fp8": 2e15}, 3e12, 4.5e11, 50e6, 132.0)
GROUPED = decode.Kind(False, True, "vllm", 2.0)


def _calls(**columns: float | list[float]) -> dict[str, np.ndarray]:
    size = max(len(v) if isinstance(v, list) else 1 for v in columns.values())
    return {n: np.broadcast_to(np.array(v, float), (size,)) for n, v in ({"kv": 1, "head_dim": 1} | columns).items()}


def test_decode_blocks_worked_by_hand():
    # 4 and 64 sequences, 8 KV heads: 32 and 512 items of ceil(1000/128) = 8 tiles. 132 // 32 = 4 pieces of 2 tiles, one
    # block an SM; 512 items are not cut and take ceil(512/132) = 4 blocks an SM
    w = decode.work(_calls(batch=[4, 64], heads=32, kv=8, head_dim=128, length=1000), GROUPED, H100)
    assert w.pieces.tolist() == [4, 1]
    assert w.starts.tolist() == [1, 4]
    assert w.tokens.tolist() == [2 * 128, 4 * 8 * 128]
    assert w.cached.tolist() == [4 * 1000 * 2 * 8 * 128 * 2, 64 * 1000 * 2 * 8 * 128 * 2]
    # FlashAttention 3 computes 64 rows for 4 query heads; XQA and trtllm-gen 8
    assert w.token_flop[0] == 4 * 128 * 64
    kind = GROUPED._replace(engine="trtllm")
    xqa = decode.work(_calls(batch=4, heads=32, kv=8, head_dim=128, length=9), kind, H100)
    assert xqa.token_flop[0] == 4 * 128 * 8
    assert xqa.pieces[0] == 1
    masked = decode.work(_calls(batch=4, heads=96, kv=2, head_dim=64, length=9), kind._replace(masked=True), H100)
    assert (masked.starts[0], masked.again[0], masked.token_flop[0]) == (3, 47, 4 * 64)


def test_latent_heads_share_blocks_by_device_class():
    q = _calls(batch=10, heads=[8, 16, 32, 64, 128], length=100)
    blackwell = decode.work(q, decode.Kind(True, False, "trtllm", 1.0), H100)
    assert blackwell.again.tolist() == [0, 0, 1, 0, 0]
    assert (blackwell.token_flop / 2176).tolist() == [16, 16, 16, 64, 64]
    assert blackwell.cached[0] == 10 * 100 * 576
    hopper = decode.work(q, decode.Kind(True, True, "trtllm", 2.0), H100)
    assert hopper.spans.tolist() == [10, 10, 10, 10, 20]
    assert not hopper.again.any()


def test_decode_time_has_its_limits():
    c = {
        "t0": 1e-5,
        "eta": 0.9,
        "f": 0.5,
        "p": 4.0,
        "item": 2e-6,
        "row": 0.0,
        "half": 60.0,
        "cache": 2.0,
        "split": 1e-6,
    }
    q = _calls(batch=[256, 2048, 1], heads=32, kv=8, head_dim=128, length=[8192, 2, 256])
    w = decode.work(q, GROUPED, H100)
    long, short, one = decode.seconds(w, slice(None), c, H100.peaks["bf16"], H100)
    assert long == pytest.approx(1e-5 + 256 * 8192 * 4096 / (0.9 * 3e12), rel=0.01)
    # ceil(2048*8/132) = 125 blocks an SM of 2 us and one tile of 128 tokens each
    assert short == pytest.approx(1e-5 + 125 * (2e-6 + 4 * 128 * 64 * 128 / (0.5 * 1e15 / 132)), rel=0.01)
    # 8 items of two tiles are cut in two: one step to join them
    assert one == pytest.approx(1e-5 + 1e-6 + 2e-6 + 4 * 128 * 64 * 128 / (0.5 * 1e15 / 132), rel=0.05)
    # replays of 1 MB come from L2, twice as fast
    assert H100.resident(np.array([1e6, 37.5e6, 60e6])).tolist() == [1.0, 0.5, 0.0]
    read = decode.seconds(w, slice(None), c | {"convert": 3.0}, H100.peaks["bf16"], H100)
    assert read[0] - long == pytest.approx(3 * 256 * 8192 * 4096 / 3e12)


def test_prompt_tiles_worked_by_hand():
    w = prefill.work(_calls(batch=[1, 200], heads=[2, 1], kv=1, head_dim=128, length=[300, 64]), GROUPED, H100)
    # three tiles that walk 1, 2 and 3 blocks, of two heads, over 132 SMs; 200 half blocks in two waves
    assert w.longest.tolist() == [3, 0.5]
    assert w.even.tolist() == [pytest.approx(2 * 6 / 132), 2 * 0.5]
    assert w.starts.tolist() == [1, 2]
    assert w.queries[1] == 200 * 64 * 128 * 4
    latent = prefill.work(_calls(batch=1, heads=16, length=64), decode.Kind(True, False, "sglang", 1.0), H100)
    assert (latent.wide[0], latent.keys[0]) == (640, 64 * 576 * 3)


def test_prompt_time_has_its_limits():
    c = {"t0": 1e-5, "f": 0.8, "score": 128.0, "item": 0.0, "tail": 0.5, "q": 2.0, "k": 1.0, "cache": 1.0}
    q = _calls(batch=[1, 16], heads=[1, 64], kv=[1, 8], head_dim=128, length=[1280, 16384])
    one, many = prefill.seconds(prefill.work(q, GROUPED, H100), slice(None), c, 1e15, H100)
    # alone, the last tile walks ten blocks; an exponential costs a quarter of the two products of 128
    block = 128 * 128 * (512 + 128) / (0.8 * 1e15 / 132)
    assert one == pytest.approx(1e-5 + 10 * block + (2 * 1280 * 512 + 1280 * 1024) / 3e12)
    flop = prefill.flop(q, GROUPED)[1]
    assert flop == 4 * 128 * 16 * 64 * 16384**2 / 2
    passes = (2 * 16 * 16384 * 64 * 512 + 16 * 16384 * 8 * 1024) / 3e12
    assert many == pytest.approx(flop * 1.25 / 0.8e15 + passes, rel=0.02)


def test_tensorrt_decodes_on_three_kernels():
    q = _calls(batch=1, heads=[1, 8, 32, 64], kv=[1, 1, 1, 1], length=9)
    hopper = attention.dispatched(q, "trtllm", True)
    assert hopper["xqa"].tolist() == [False, True, True, False]
    assert hopper["mmha"].tolist() == [True, False, False, True]
    assert attention.dispatched(q, "trtllm", False)["trtllm_gen"].tolist() == [True, True, True, False]
    assert attention.dispatched(q, "vllm", True)[""].all()


def test_a_surface_is_linear_between_knots_and_follows_what_is_missed():
    left, right = robust.hat(np.array([0.5, 1.0]), 2), robust.hat(np.array([0.0, 0.25]), 2)
    assert np.allclose(robust.grid(left, right), [[0.5, 0, 0.5, 0], [0, 0, 0.75, 0.25]])
    x = np.linspace(0, 3, 300)
    basis = robust.hat(x, 4)
    miss = 0.2 * np.abs(x - 1.0)
    miss[::25] += 2.0
    assert np.median(np.abs(basis @ robust.bend(miss, basis) - miss)) < 0.01


def test_shipped_attention_entries_repeat_measured_times():
    shipped = constants.read("kernels.json")["tables"]
    # (operation, device, engine, cache), call, seconds in the table
    found = [
        (("gqa", "h100_sxm", "vllm", "bfloat16"), (128, 32, 8, 128, 4096), 689.8e-6),
        (("mla", "b200_sxm", "trtllm", "fp8"), (64, 128, 1, 1, 4096), 46.3e-6),
        (("gqa_prefill", "h100_sxm", "trtllm", "bfloat16"), (16, 32, 8, 128, 1024), 514.5e-6),
    ]
    for (operation, device, engine, cache), call, measured in found:
        (entry,) = [
            t for t in shipped
            if (t["operation"], t["device"], t["engine"], t["dtype"]) == (operation, device, engine, f"{cache} cache")
            and t["kernel"] != "mmha"
        ]  # fmt: skip
        q = _calls(**dict(zip(("batch", "heads", "kv", "head_dim", "length"), call, strict=True)))
        assert attention.predict(entry, q)[0] == pytest.approx(measured, rel=0.1)
        assert attention.predict(entry, q, refined=False)[0] == pytest.approx(measured, rel=0.25)


def test_copies_of_a_token_by_kind_of_all_to_all():
    copies = exchange.copies
    assert copies(8, 8, each=True) == 8
    # eight independent picks of 8 ranks reach 8*(1 - (7/8)^8) = 5.25 of them
    assert copies(8, 8, each=False) == pytest.approx(5.251, abs=1e-3)
    assert copies([2, 8, 64], 8, each=False, even=True).tolist() == [2, 8, 8]
    assert copies(1, 4, each=False) == 1


def test_all_to_all_time_has_its_limits():
    c = {"start": 1e-5, "expert": 1e-8, "token": 1e-9, "fraction": 0.5}
    q = _calls(tokens=[1, 1000], experts=256, ranks=8, sms=[20, 20])
    q["bytes"] = q["tokens"] * 8 * 7168 * 2.0
    few, many = exchange.seconds(q, slice(None), c, 4e11)
    assert few == pytest.approx(1e-5 + 2.56e-6 + 1e-9 + 8 * 7168 * 2 * 7 / 8 / 2e11)
    assert many == pytest.approx(1e-5 + 2.56e-6 + 1e-6 + 1000 * 7 * 7168 * 2 / 2e11)
    # 20 SMs of 1 GB/s each are the limit, not the link; what stays on the rank costs as much with own = 1
    slow = exchange.seconds(q, slice(None), c | {"rate": 1e9, "p": 8.0}, 4e11)[1]
    assert slow == pytest.approx(1.356e-5 + 1000 * 7 * 7168 * 2 / 2e10, rel=0.001)
    own = exchange.seconds(q, slice(None), c | {"own": 1.0}, 4e11)[1]
    assert own == pytest.approx(1.356e-5 + 1000 * 8 * 7168 * 2 / 2e11)
    held = exchange.fifth(np.repeat([1.0, 2.0, 3.0, 4.0], 3), np.zeros(12))
    assert held.tolist() == [False] * 6 + [True] * 3 + [False] * 3
