"""Routing: closed forms, the model's figures, and every rank formula against simulation."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade import deepseek_v3, llama_70b
from routeline import placement, routing
from routeline.errors import RoutelineError
from routeline.resolve import ask
from routeline.resolve import routing as resolve_routing
from routeline.routing import BALANCED, UNIFORM, Routing

V3 = (256.0, 8.0)


def zipf(a):
    return Routing("zipf", exponent=a)


# --- simulation ------------------------------------------------------------------------------------


def draws(rng, experts, top_k, tokens, weights=None, groups=1, kept=1):
    """top_k distinct experts per token, drawn in proportion to weights; shape (tokens, top_k)."""
    score = rng.gumbel(size=(tokens, experts))
    if weights is not None:
        score = score + np.log(weights)
    if groups > 1:
        allowed = np.argsort(rng.random((tokens, groups)), axis=1)[:, :kept]
        mask = np.full((tokens, groups), -np.inf)
        np.put_along_axis(mask, allowed, 0.0, axis=1)
        score = score + np.repeat(mask, experts // groups, axis=1)
    return np.argpartition(-score, top_k - 1, axis=1)[:, :top_k]


def simulated(experts, top_k, tokens, ranks, *, weights=None, groups=1, kept=1, shuffle=True, trials=150):
    """Mean over trials of (experts touched, touched on the fullest rank, load of the busiest rank / mean)."""
    rng = np.random.default_rng(7)
    out = []
    for _ in range(trials):
        load = np.bincount(draws(rng, experts, top_k, tokens, weights, groups, kept).ravel(), minlength=experts)
        by_rank = (rng.permutation(load) if shuffle else load).reshape(ranks, -1)
        busiest = by_rank.sum(axis=1).max() / (tokens * top_k / ranks)
        out.append(((load > 0).sum(), (by_rank > 0).sum(axis=1).max(), busiest))
    return np.mean(out, axis=0)


@pytest.mark.parametrize("tokens", [1, 8, 64, 256])
@pytest.mark.parametrize(
    ("experts", "top_k", "ranks", "exponent"),
    [(256, 8, 8, 0.0), (256, 8, 32, 0.0), (8, 2, 4, 0.0), (256, 8, 8, 1.2), (64, 6, 8, 1.2), (128, 8, 8, 0.5)],
)
def test_touched_and_worst_rank_match_simulation(experts, top_k, ranks, exponent, tokens):
    weights = np.arange(1, experts + 1.0) ** -exponent
    union, hot, busy = simulated(experts, top_k, tokens, ranks, weights=weights)
    law = zipf(exponent) if exponent else UNIFORM
    numbers = (float(experts), float(top_k), float(tokens))
    assert routing.experts_touched(law, *numbers) == pytest.approx(union, rel=0.02)
    sparse = 0.10 if tokens == 1 else 0.05  # fewer than one expert a rank: the normal law is coarse there
    assert routing.worst_rank_touched(law, *numbers, float(ranks)) == pytest.approx(hot, rel=sparse)
    assert routing.worst_rank_load(law, *numbers, float(ranks)) == pytest.approx(
        busy, rel=0.10 if tokens == 1 else 0.08
    )


@pytest.mark.parametrize("tokens", [8, 64, 256])
@pytest.mark.parametrize(("ranks", "groups", "kept"), [(8, 8, 4), (32, 8, 4), (4, 8, 4)])
def test_group_limits_crowd_the_worst_rank_as_simulated(ranks, groups, kept, tokens):
    union, hot, busy = simulated(256, 8, tokens, ranks, groups=groups, kept=kept, shuffle=False)
    numbers, limits = (256.0, 8.0, float(tokens), float(ranks)), {"groups": float(groups), "kept": float(kept)}
    assert routing.experts_touched(UNIFORM, *numbers[:3]) == pytest.approx(union, rel=0.02)  # tokens stay independent
    assert routing.worst_rank_touched(UNIFORM, *numbers, **limits) == pytest.approx(hot, rel=0.03)
    assert routing.worst_rank_load(UNIFORM, *numbers, **limits) == pytest.approx(busy, rel=0.04)
    assert routing.worst_rank_load(UNIFORM, *numbers, **limits) > routing.worst_rank_load(UNIFORM, *numbers)


@pytest.mark.parametrize("tokens", [8, 64, 512])
@pytest.mark.parametrize(("exponent", "ranks", "spare"), [(0.0, 32, 32), (1.2, 8, 8), (1.2, 32, 32), (0.6, 32, 32)])
def test_redundant_experts_level_the_load_as_simulated(exponent, ranks, spare, tokens):
    """Greedy copies and packing; each token of a copied expert goes to a random copy."""
    rng = np.random.default_rng(3)
    law = Routing("zipf" if exponent else "uniform", exponent=exponent, redundant=float(spare))
    pi = routing.inclusion(law, *V3)
    slots = placement.eplb(pi, ranks, spare)
    copies = np.ones(256, int)
    for _ in range(spare):
        copies[np.argmax(pi / copies)] += 1
    at = np.full((256, copies.max()), -1)
    free = {}
    for rank, row in enumerate(slots):
        for value in row:
            free.setdefault(round(float(value), 12), []).append(rank)
    for expert in range(256):
        for copy in range(copies[expert]):
            at[expert, copy] = free[round(float(pi[expert] / copies[expert]), 12)].pop()
    weights = np.arange(1, 257.0) ** -exponent
    found = []
    for _ in range(60):
        chosen = draws(rng, 256, 8, tokens, weights).ravel()
        copy = (rng.random(len(chosen)) * copies[chosen]).astype(int)
        slot = chosen * copies.max() + copy
        used = np.unique(slot)
        hot = np.bincount(at.ravel()[used], minlength=ranks).max()
        busy = np.bincount(at.ravel()[slot], minlength=ranks).max() / (tokens * 8 / ranks)
        found.append((hot, busy))
    hot, busy = np.mean(found, axis=0)
    numbers = (*V3, float(tokens), float(ranks))
    assert routing.worst_rank_touched(law, *numbers) == pytest.approx(hot, rel=0.08 if tokens == 8 else 0.03)
    assert routing.worst_rank_load(law, *numbers) == pytest.approx(busy, rel=0.08 if tokens == 8 else 0.03)
    plain = Routing(law.name, exponent=exponent)
    if exponent and tokens > 8:
        assert routing.worst_rank_load(law, *numbers) < 0.8 * routing.worst_rank_load(plain, *numbers)


# --- figures and limits ----------------------------------------------------------------------------


def test_the_figures_of_the_model():
    """docs/physics.md section 2, T = 64, E = 256, k = 8: zipf 1.2 128, uniform 222, balanced 256; worst rank 30.3."""
    assert routing.experts_touched(zipf(1.2), *V3, 64.0) == pytest.approx(128, abs=1)
    assert routing.experts_touched(UNIFORM, *V3, 64.0) == pytest.approx(222.44, abs=0.005)
    assert routing.experts_touched(BALANCED, *V3, 64.0) == 256
    assert routing.worst_rank_touched(UNIFORM, *V3, 64.0, 8.0) == pytest.approx(30.3, abs=0.15)
    assert routing.experts_touched(UNIFORM, *V3, 64.0) / 8 == pytest.approx(27.8, abs=0.05)


@settings(max_examples=200, deadline=None)
@given(
    experts=st.integers(1, 512), share=st.floats(0.001, 1.0), tokens=st.integers(1, 5000), exponent=st.floats(0.0, 3.0)
)
def test_touched_lies_between_k_and_the_balanced_limit(experts, share, tokens, exponent):
    k = max(1.0, round(experts * share))
    numbers = (float(experts), k, float(tokens))
    ceiling = min(float(experts), tokens * k)
    balanced = routing.experts_touched(BALANCED, *numbers)
    assert balanced == ceiling
    for law in (UNIFORM, zipf(exponent)):
        touched = routing.experts_touched(law, *numbers)
        assert k * (1 - 1e-9) <= touched <= ceiling * (1 + 1e-9)
    assert routing.experts_touched(zipf(exponent), *numbers) <= routing.experts_touched(UNIFORM, *numbers) * (1 + 1e-9)
    more = routing.experts_touched(UNIFORM, numbers[0], k, tokens + 1.0)
    assert more >= routing.experts_touched(UNIFORM, *numbers)


@settings(max_examples=150, deadline=None)
@given(
    per_rank=st.integers(1, 64), ranks=st.sampled_from([1, 2, 4, 8, 16, 64]), tokens=st.integers(1, 4096),
    k=st.integers(1, 16), law=st.sampled_from([UNIFORM, BALANCED, zipf(1.2), Routing("uniform", redundant=4.0)]),
)  # fmt: skip
def test_the_worst_rank_is_between_the_mean_and_everything(per_rank, ranks, tokens, k, law):
    experts = float(per_rank * ranks)
    k = float(min(k, experts))
    hot = routing.worst_rank_touched(law, experts, k, float(tokens), float(ranks))
    load = routing.worst_rank_load(law, experts, k, float(tokens), float(ranks))
    mean = routing.experts_touched(law, experts, k, float(tokens)) / ranks
    slots = -(-(experts + law.redundant) // ranks)
    assert mean * (1 - 1e-9) <= hot <= slots * (1 + 1e-9)
    assert 1.0 <= load <= ranks * (1 + 1e-9)
    if ranks == 1 and not law.redundant:
        assert hot == pytest.approx(mean, rel=1e-9)
        assert load == 1.0


def test_a_dense_layer_is_one_expert():
    for law in (UNIFORM, BALANCED, zipf(1.2)):
        assert routing.experts_touched(law, 1.0, 1.0, 77.0) == 1.0
        assert routing.worst_rank_touched(law, 1.0, 1.0, 77.0, 1.0) == 1.0
        assert routing.worst_rank_load(law, 1.0, 1.0, 77.0, 1.0) == 1.0
    assert routing.fragmentation(1.0, 1.0) == 1.0
    assert routing.tokens_per_expert(77.0, 1.0, 1.0) == 77.0


def test_fragmentation_of_deepseek():
    """docs/physics.md section 3: 2.30 tokens per fetched expert and phi = 27.8 at T = 64; 31.5 at 128."""
    touched = routing.experts_touched(UNIFORM, *V3, np.array([64.0, 128.0]))
    assert routing.fragmentation(touched, 8.0) == pytest.approx([27.8, 31.45], abs=0.05)
    assert routing.tokens_per_expert(64.0, 8.0, touched[0]) == pytest.approx(2.30, abs=0.005)


def test_zipf_inclusion_sums_to_top_k_and_falls():
    for experts, k, a in ((256, 8.0, 1.2), (8, 2.0, 0.5), (64, 6.0, 3.0)):
        pi = routing.zipf_inclusion(experts, k, a)
        assert pi.sum() == pytest.approx(k, rel=1e-9)
        assert np.all(np.diff(pi) <= 0)
        assert pi.max() <= 1
    assert routing.zipf_inclusion(64, 4.0, 0.0) == pytest.approx(np.full(64, 1 / 16), rel=1e-9)


@pytest.mark.parametrize("law", [UNIFORM, BALANCED, zipf(1.2), Routing("zipf", exponent=1.0, redundant=8.0)], ids=str)
def test_scalar_is_array(law):
    tokens, ranks = np.array([1.0, 8.0, 64.0, 1000.0]), np.array([8.0, 4.0, 8.0, 2.0])
    for rule in (routing.worst_rank_touched, routing.worst_rank_load):
        whole = rule(law, *V3, tokens, ranks)
        assert np.allclose(
            whole, [rule(law, *V3, float(t), float(r)) for t, r in zip(tokens, ranks, strict=True)], rtol=1e-9
        )
        grid = rule(law, *V3, tokens[None, :], ranks[:2, None])
        assert grid.shape == (2, 4)
        assert grid[1, 2] == pytest.approx(rule(law, *V3, 64.0, 4.0), rel=1e-9)


def test_speculative_tokens_count_as_verified_in_routing_and_as_accepted_in_output():
    """--draft 3 --accept 0.8: four tokens a sequence are routed, 1 + 3 * 0.8 are output."""
    given = {"context": 8192, "weights": "fp8", "layout": "pooled", "tier": "ideal", "batch": 16, "q": 2}
    plain = ask(deepseek_v3(), "8xH200", **given)
    drafted = ask(deepseek_v3(), "8xH200", draft=3, accept=0.8, **given)
    step = drafted.moe.point.step
    assert step.tokens == 64
    assert step.touched == pytest.approx(222.44, abs=0.005)
    assert step.output == pytest.approx(16 * 3.4)
    assert plain.moe.point.step.tokens == 16
    assert drafted.moe.point.tpot == pytest.approx(step.seconds / 3.4, rel=1e-12)


# --- placement -------------------------------------------------------------------------------------


def test_eplb_keeps_every_token_and_fills_ranks_evenly():
    pi = routing.zipf_inclusion(64, 4.0, 1.5)
    slots = placement.eplb(pi, 8, 16)
    assert slots.shape == (8, 10)
    assert slots.sum() == pytest.approx(4.0, rel=1e-12)
    assert np.all(slots > 0)
    level, dealt = (x.sum(axis=1).max() / x.sum(axis=1).mean() for x in (slots, placement.deal(pi, 8)))
    assert level < 1.2 < dealt


# --- text and files --------------------------------------------------------------------------------


def test_parse_and_refuse():
    assert routing.parse("zipf:1.2") == zipf(1.2)
    for bad, message in (
        ("zipf:x", "write the exponent"),
        ("zipf:9", "between 0 and 5"),
        ("random", "unknown routing"),
    ):
        with pytest.raises(RoutelineError, match=message):
            routing.parse(bad)
    with pytest.raises(RoutelineError, match="needs a file"):
        resolve_routing("measured:", deepseek_v3())


def rows(layers=58, experts=256, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(draws(rng, experts, 8, 400).ravel(), minlength=experts) for _ in range(layers)])


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return f"measured:{path}"


def test_measured_tables_in_every_form_give_the_same_routing(tmp_path):
    table = rows()
    share = table / 400.0
    long = "layer,expert,count\n" + "\n".join(f"{i},{j},{v}" for i, row in enumerate(table) for j, v in enumerate(row))
    forms = {
        "counts.json": json.dumps({"counts": table.tolist()}),
        "probabilities.json": json.dumps({"probabilities": share.tolist()}),
        "shares.json": json.dumps({"probabilities": (share / 8).tolist()}),
        "wide.csv": "\n".join(",".join(map(str, row)) for row in table),
        "long.csv": long,
    }
    for name, text in forms.items():
        found = resolve_routing(write(tmp_path, name, text), deepseek_v3())
        assert np.allclose(found.probabilities, share, rtol=1e-9), name
    union = routing.experts_touched(found, *V3, 64.0)
    assert union == pytest.approx(np.mean([np.sum(1 - (1 - p) ** 64) for p in share]), rel=1e-9)
    assert union < routing.experts_touched(UNIFORM, *V3, 64.0)


def test_a_measured_comparison_runs_from_the_file(tmp_path):
    """One row for all layers; skew touches fewer experts than uniform, and its worst rank carries more."""
    counts = np.round(routing.zipf_inclusion(256, 8.0, 1.0) * 1e6)
    text = write(tmp_path, "one.csv", ",".join(str(int(c)) for c in counts))
    given = {"context": 8192, "weights": "fp8", "layout": "dp8,ep8", "batch": 64, "q": 2, "tier": "ideal"}
    skewed, even = (ask(deepseek_v3(), "8xH200", routing=r, **given) for r in (text, "uniform"))
    assert skewed.moe.point.step.touched < even.moe.point.step.touched
    assert skewed.dense.point.step.seconds == even.dense.point.step.seconds


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"probabilities": [[0.5, 0.4]]}', "a table of 1x2, and DeepSeek-V3 has 256 experts"),
        ("b.json", json.dumps({"probabilities": [[0.01] * 256]}), "sum to 2.56, neither to top_k = 8 nor to 1"),
        ("c.json", json.dumps({"counts": [[1] * 256] * 3}), "has 3 layers, and DeepSeek-V3 has 58"),
        ("d.json", json.dumps({"counts": [[-1] + [1] * 255]}), "negative or non-finite"),
        ("e.json", json.dumps({"counts": [[100000] + [1] * 255]}), "would serve .* of every token, above 1"),
        ("f.json", json.dumps({"counts": [[0] * 256]}), "was never used"),
        ("g.json", '{"loads": [[1]]}', "exactly one of counts or probabilities"),
        ("h.csv", "a,b\nc,d", "is not a table of numbers"),
        ("i.csv", "", "is empty"),
        ("j.csv", "layer,expert,count\n0,0,1\n0,0,2", "given twice"),
        ("k.csv", "layer,expert,load\n0,0,1", "name the column of values count or probability"),
        ("l.csv", "layer,expert,count\n0,-1,1", "numbered from 0"),
        ("m.json", '{"counts": "no"}', "is not a table of numbers"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, name, text, message):
    with pytest.raises(RoutelineError, match=message):
        resolve_routing(write(tmp_path, name, text), deepseek_v3())


def test_files_that_are_not_there_and_models_without_experts():
    with pytest.raises(RoutelineError, match="cannot read the routing file"):
        resolve_routing("measured:/nowhere/at/all.csv", deepseek_v3())
    with pytest.raises(RoutelineError, match="no routed experts"):
        resolve_routing("measured:x.csv", llama_70b())
