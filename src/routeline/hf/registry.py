"""Architecture class name -> the function that reads it ('file:function', imported on first use)."""

from __future__ import annotations

FAMILIES = {
    "LlamaForCausalLM": "decoder:llama",
    "MistralForCausalLM": "decoder:mistral",
    "MixtralForCausalLM": "decoder:mixtral",
    "Qwen2ForCausalLM": "decoder:qwen2",
    "Qwen2MoeForCausalLM": "decoder:qwen2_moe",
    "Qwen3ForCausalLM": "decoder:qwen3",
    "Qwen3MoeForCausalLM": "decoder:qwen3_moe",
    "OlmoeForCausalLM": "decoder:olmoe",
    "Grok1ModelForCausalLM": "decoder:grok",
    "GrokForCausalLM": "decoder:grok",
    "DeepseekV3ForCausalLM": "deepseek:deepseek",
    "DeepseekV2ForCausalLM": "deepseek:deepseek",
    "SwitchTransformersForConditionalGeneration": "t5:switch",
}

BY_TYPE = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "olmoe": "OlmoeForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
}
