"""A key that a config leaves out is what its class makes of it, and is said; a null one is off."""

import math

import pytest
from hf_cases import DEEPSEEK, LLAMA, MIXTRAL

from routeline import counts
from routeline.errors import RoutelineError
from routeline.hf import parse
from routeline.hf.defaults import class_defaults


def read(config, **change):
    given = {k: v for k, v in (config | change).items() if v is not ...}
    return parse(given, name="test", source="test")


def spans(model):
    return {s.window for g in model.layers for s in g.streams}


MISTRAL = LLAMA | {"architectures": ["MistralForCausalLM"], "max_position_embeddings": 32768}


def test_mistral_without_a_window_key_has_the_windows_of_its_class():
    absent, null, given = read(MISTRAL), read(MISTRAL, sliding_window=None), read(MISTRAL, sliding_window=1024)
    assert (spans(absent), spans(null), spans(given)) == ({4096.0}, {math.inf}, {1024.0})
    assert dict(absent.defaults)["sliding_window"] == 4096
    assert "sliding_window is not in the config: its class's default, 4096, is taken" in absent.warnings
    assert not null.warnings
    assert not given.warnings


def test_a_query_rank_left_out_is_1536_and_null_is_none():
    absent, null = read(DEEPSEEK, q_lora_rank=...), read(DEEPSEEK, q_lora_rank=None)
    # a query of 8 heads of 32 + 16: straight from 512, or 512 -> 1536 -> 8*48 with a norm of 1536
    more = (512 * 1536 + 1536 * 8 * 48 + 1536) - 512 * 8 * 48
    assert counts.total(absent) - counts.total(null) == 4 * more
    assert any("q_lora_rank" in w for w in absent.warnings)


def test_what_the_family_fills_in_itself_is_listed_without_a_warning():
    model = read(LLAMA, num_key_value_heads=...)
    assert dict(model.defaults)["num_key_value_heads"] == 8
    assert not model.warnings


def test_sizes_are_not_filled_in_at_the_top_level():
    for key in ("hidden_size", "num_hidden_layers", "vocab_size", "num_local_experts"):
        with pytest.raises(RoutelineError, match=f"no key .*{key}"):
            read(MIXTRAL, **{key: ...})
    with pytest.raises(RoutelineError, match="no key intermediate_size"):
        read(LLAMA, intermediate_size=...)


def test_a_text_config_may_leave_sizes_to_its_class_and_each_is_said():
    outer = {"architectures": ["Qwen3VLForConditionalGeneration"], "vision_config": None}
    text = {"hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 2, "vocab_size": 151936}
    model = parse(outer | {"text_config": text}, name="test", source="test")
    assert model.heads == class_defaults("Qwen3VLForConditionalGeneration")["num_attention_heads"] == 32
    assert any(w.startswith("num_attention_heads is not in the config") for w in model.warnings)


def test_the_context_limit_and_prediction_layers_are_never_filled_in():
    assert read(LLAMA).context_limit is None
    assert read(DEEPSEEK).mtp_layers == 0


def test_the_table_states_its_version():
    assert class_defaults("NoSuchModel") == {}
    assert class_defaults("MixtralForCausalLM")["num_experts_per_tok"] == 2


def test_qwen_and_dots_window_the_layers_past_max_window_layers():
    qwen = LLAMA | {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True, "sliding_window": 512}
    assert sum(g.count for g in read(qwen, max_window_layers=1).layers if spans_of(g) == {512.0}) == 3
    assert spans(read(qwen)) == {math.inf}  # 28 full layers come first, and there are four
    dots = MIXTRAL | {"architectures": ["Dots1ForCausalLM"], "moe_intermediate_size": 128, "sliding_window": 512}
    assert spans(read(dots)) == {math.inf}  # 62
    assert sum(g.count for g in read(dots, max_window_layers=3).layers if spans_of(g) == {512.0}) == 1
    assert spans(read(dots, max_window_layers=3, sliding_window=None)) == {math.inf}


def spans_of(group):
    return {s.window for s in group.streams}


def test_an_expert_width_left_out_is_the_class_s_own_where_it_has_one():
    mellum = MIXTRAL | {"architectures": ["MellumForCausalLM"]}
    model = read(mellum)
    assert dict(model.defaults)["moe_intermediate_size"] == 896
    assert any(w.startswith("moe_intermediate_size is not in the config") for w in model.warnings)
