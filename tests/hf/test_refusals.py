"""Bad configs end in one clear sentence, never in a crash, a NaN or a negative count."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hf_cases import DEEPSEEK, LLAMA, MIXTRAL, QWEN_MOE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routeline import counts
from routeline.errors import RoutelineError, UnknownName
from routeline.hf import known_architectures, parse
from routeline.models import FOLDER, model_names


def read(config, **change):
    return parse(config | change, name="test", source="test")


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        (LLAMA, {"hidden_size": -1}, "hidden_size=-1 must lie between 1 and"),
        (LLAMA, {"hidden_size": 0}, "hidden_size=0 must lie between 1 and"),
        (LLAMA, {"hidden_size": 10**12}, "must lie between 1 and 100000000"),
        (LLAMA, {"num_hidden_layers": 10**6}, "must lie between 1 and 2000"),
        (LLAMA, {"hidden_size": "4096"}, "must be a whole number"),
        (LLAMA, {"hidden_size": True}, "must be a whole number"),
        (LLAMA, {"hidden_size": math.nan}, "must be a whole number"),
        (LLAMA, {"hidden_size": math.inf}, "must be a whole number"),
        (LLAMA, {"hidden_size": 512.5}, "must be a whole number"),
        (LLAMA, {"hidden_size": [512]}, "must be a whole number"),
        (LLAMA, {"hidden_size": None}, "no key hidden_size"),
        (LLAMA, {"num_key_value_heads": 3}, "num_attention_heads=8 is not a multiple of num_key_value_heads=3"),
        (LLAMA, {"tie_word_embeddings": "yes"}, "tie_word_embeddings=yes must be true or false"),
        (LLAMA, {"num_experts": 8}, "num_experts=8 is not understood for LlamaForCausalLM"),
        (LLAMA, {"kv_sharing_ratio": 2}, "kv_sharing_ratio=2 is not understood"),
        (LLAMA, {"text_config": 5}, "text_config=5 must be an object"),
        (MIXTRAL, {"num_experts_per_tok": 9}, "9 experts per token are chosen out of only 8"),
        (MIXTRAL, {"num_experts": 4}, "num_experts=4 and num_local_experts=8 contradict"),
        (QWEN_MOE, {"mlp_only_layers": "0"}, "mlp_only_layers=0 must be a list"),
        (QWEN_MOE, {"decoder_sparse_step": -2}, "decoder_sparse_step=-2 must lie"),
        (DEEPSEEK, {"n_group": 3, "topk_group": 1}, "n_group=3, topk_group=1 cannot route"),
        (DEEPSEEK, {"moe_layer_freq": [1, 0], "first_k_dense_replace": None}, "has 2 entries, but there are 4 layers"),
    ],
)
def test_one_sentence_names_key_value_and_limit(config, change, said):
    with pytest.raises(RoutelineError) as refused:
        read(config, **change)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_architecture_is_named_with_the_nearest():
    with pytest.raises(UnknownName) as refused:
        read(LLAMA, architectures=["LlamaForCausalLN"])
    assert "'LlamaForCausalLN'" in str(refused.value)
    assert "llamaforcausallm" in [n.lower() for n in refused.value.near]
    with pytest.raises(UnknownName, match="BertModel"):
        read(LLAMA, architectures=["BertModel"], model_type="llama")


def test_an_unknown_harmless_key_warns():
    model = read(LLAMA, favourite_colour="blue")
    assert any("favourite_colour" in w for w in model.warnings)


def test_off_switches_are_not_refused():
    assert read(LLAMA, use_expert_cache=False, moe_something=0, kv_list=[]).layers == read(LLAMA).layers


def test_what_is_no_object_is_refused():
    for value in (None, 3, [], "config"):
        with pytest.raises(RoutelineError, match="must be a JSON object"):
            parse(value, name="test", source="test")


def test_every_family_can_be_imported_and_refuses_an_empty_config():
    for name in known_architectures():
        with pytest.raises(RoutelineError):
            parse({"architectures": [name]}, name="test", source="test")


REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text(encoding="utf-8"))
CONFIGS = {n: json.loads(Path(FOLDER, f"{n}.json").read_text(encoding="utf-8")) for n in model_names()}
CONFIGS |= {f"reference {case['family']}": {"config": case["config"]} for case in REFERENCE}
ODD = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 1, 2, 3, 7, 64, 10**9, 10**30, -(10**30), 1e308, "", "text", "8", [], {}]
    ),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.5, [1, 2], ["a"], [None], {"a": 1}, [[[[]]]], {"b": {"c": []}}]),
    st.integers(-5, 5000),
    st.floats(allow_nan=True),
    st.text(max_size=8),
).map(copy.deepcopy)
NEW_KEYS = st.sampled_from(
    [
        "num_experts",
        "num_experts_per_tok",
        "head_dim",
        "sliding_window",
        "kv_lora_rank",
        "quantization_config",
        "q",
        "layer_types",
        "torch_dtype",
        "first_k_dense_replace",
        "n_group",
        "topk_group",
        "vision_config",
        "text_config",
        "architectures",
        "model_type",
    ]
)


def places(value, path=()):
    """Every path inside a config at which something can be replaced."""
    out = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            out += places(value[key], (*path, key))
    elif isinstance(value, list) and len(value) < 12:
        for i in range(len(value)):
            out += places(value[i], (*path, i))
    return out


@st.composite
def mutants(draw):
    name = draw(st.sampled_from(sorted(CONFIGS)))
    entry = copy.deepcopy({k: CONFIGS[name][k] for k in ("config", "quant") if k in CONFIGS[name]})
    for _ in range(draw(st.integers(1, 4))):
        spots = [*places(entry["config"]), *(("quant", *p) for p in places(entry.get("quant", {})))]
        action = draw(st.integers(0, 9))
        if action == 0:
            entry["config"][draw(NEW_KEYS)] = draw(ODD)
            continue
        path = draw(st.sampled_from(spots)) if spots else ()
        if not path:
            continue
        root = entry["quant"] if path[0] == "quant" and "quant" in entry else entry["config"]
        steps = path[1:] if root is entry.get("quant") else path
        if not steps:
            continue
        for step in steps[:-1]:
            root = root[step]
        if action == 1:
            del root[steps[-1]]
        elif action == 2 and isinstance(root[steps[-1]], int | float):
            root[steps[-1]] = root[steps[-1]] * draw(st.sampled_from([2, 3, -1, 0.5, 1000]))
        else:
            root[steps[-1]] = draw(ODD)
    return entry


def check_answer(model):
    """An answer is finite, non-negative and consistent."""
    total, active = counts.total(model), counts.active(model).all
    assert math.isfinite(total)
    assert 0 < active <= total * (1 + 1e-12)
    for w, count, group in counts.weights(model):
        assert count >= 1
        assert w.params >= 0
        assert 2 <= w.bits <= 33
        assert group is None or 1 <= group.top_k <= group.experts
    for group in model.layers:
        for s in group.streams:
            assert s.elements >= 0
            assert s.stride >= 1
            assert s.window > 0
            assert s.read > 0
            assert np.isfinite(s.flop)
        assert all(math.isfinite(x.bytes) and x.bytes > 0 for x in group.states)
    assert model.context_limit is None or model.context_limit >= 1


@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutants())
def test_mutated_real_configs_give_an_answer_or_one_sentence(entry):
    refusal = ""
    try:
        check_answer(parse(entry["config"], name="mutant", source="test", quant=entry.get("quant")))
    except RoutelineError as said:
        refusal = str(said)
    assert "\n" not in refusal
    assert not refusal or 10 < len(refusal) < 900


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.recursive(ODD, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=4)))
def test_arbitrary_json_gives_one_sentence(value):
    with pytest.raises(RoutelineError):
        parse(value, name="nonsense", source="test")
