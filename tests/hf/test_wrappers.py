"""Language models behind an encoder: which class counts them, which part is the encoder, what is refused."""

import json
from pathlib import Path

import pytest

from routeline import counts
from routeline.errors import RoutelineError
from routeline.hf import parse
from routeline.hf.registry import BY_TYPE, FAMILIES, SPEAKERS, WRAPPERS

CASES = {c["family"]: c["config"] for c in json.loads(Path(__file__).with_name("reference.json").read_text())}


def read(config, **change):
    return parse(config | change, name="test", source="test")


@pytest.mark.parametrize(
    ("family", "total", "language"),
    [
        # LLaVA-1.5-7B: Vicuna's 6,738,939,904, CLIP-L/14-336's 303,507,456, a projector of 1024 -> 4096 -> 4096
        ("llava-1.5-7b", 6_738_939_904 + 303_507_456 + (1024 * 4096 + 4096) + (4096 * 4096 + 4096), 6_738_939_904),
        # Pixtral 12B: Mistral Nemo's language model
        ("pixtral-12b", 12_682_739_712, 12_247_782_400),
        ("qwen2-vl-7b", 8_291_375_616, 7_615_616_512),
        ("paligemma-3b", 2_923_466_480, 2_508_662_784),
        ("internvl3-8b", 7_944_373_760, 7_612_820_992),
        ("qwen2.5-omni-7b-thinker", 8_931_813_888, 7_615_616_512),
        ("idefics3-8b", 8_462_086_384, 8_030_285_824),
        ("lfm2-vl-1.6b", 1_584_794_784, 1_170_340_608),
    ],
)
def test_total_has_the_encoder_and_active_has_not(family, total, language):
    model = read(CASES[family])
    assert counts.total(model) == total
    assert counts.active(model).all == counts.text_total(model) == language


def test_the_language_model_is_that_of_the_named_class():
    text = CASES["llava-next-mistral-7b"]["text_config"]
    alone = read({"architectures": ["MistralForCausalLM"], **text})
    behind = read(CASES["llava-next-mistral-7b"])
    assert behind.layers == alone.layers
    assert counts.active(behind) == counts.active(alone)


def test_glm_45v_activates_what_glm_45_air_does():
    model = read(CASES["glm-4.5v"])
    h, moe, dense = 4096, 3 * 4096 * 1408, 3 * 4096 * 10944
    attention = 2 * h * 96 * 128 + 2 * h * 8 * 128 + 96 * 128 + 2 * 8 * 128
    layers = 46 * (attention + 2 * h) + dense + 45 * (128 * h + 9 * moe)
    assert counts.active(model).all == layers + 2 * 151552 * h + h


def test_an_encoder_that_is_not_understood_is_left_out_and_said():
    config = CASES["llava-1.5-7b"] | {"vision_config": {"model_type": "some_new_tower", "hidden_size": 64}}
    model = read(config)
    assert counts.total(model) == 6_738_939_904
    assert any("the vision tower is not counted" in w for w in model.warnings)


def test_internvl_chat_files_give_the_language_model():
    llm = CASES["internvl3-8b"]["text_config"]
    extra = {"force_image_size": 448, "select_layer": -1, "max_dynamic_patch": 12, "use_llm_lora": 0, "template": "x"}
    config = {"architectures": ["InternVLChatModel"], "llm_config": llm, "vision_config": {"hidden_size": 1024}}
    model = read(config | extra, downsample_ratio=0.5)
    assert counts.total(model) == 7_612_820_992
    assert any("the vision tower is not counted" in w for w in model.warnings)


def test_an_omni_file_gives_its_thinker():
    inner = {k: v for k, v in CASES["qwen3-omni-30b-thinker"].items() if k != "architectures"}
    whole = {"architectures": ["Qwen3OmniMoeForConditionalGeneration"], "thinker_config": inner}
    model = read(whole, talker_config={"hidden_size": 1024}, torch_dtype="bfloat16")
    assert counts.total(model) == 31_719_205_488
    assert counts.active(model).all == 3_353_556_992
    assert any("not counted" in w for w in model.warnings)
    with pytest.raises(RoutelineError, match="thinker_config=None must be an object"):
        read({"architectures": ["Qwen3OmniMoeForConditionalGeneration"]})


def test_a_language_model_that_is_not_known_is_refused_by_name():
    with pytest.raises(RoutelineError, match=r"text_config\.model_type=rwkv is not a language model known here"):
        read(CASES["llava-1.5-7b"], text_config={"model_type": "rwkv"})
    vision = CASES["internvl3-8b"]["vision_config"] | {"image_size": [448, 224]}
    with pytest.raises(RoutelineError, match="must be one number or two equal ones"):
        read(CASES["internvl3-8b"], vision_config=vision)


def test_every_wrapper_falls_back_on_a_known_class():
    assert all(BY_TYPE[t] in FAMILIES for t in WRAPPERS.values())
    assert set(SPEAKERS.values()) <= set(FAMILIES)
    assert set(BY_TYPE.values()) <= set(FAMILIES) | set(WRAPPERS)
