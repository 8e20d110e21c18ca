"""Config keys that change no count, and the shape of names that might.

A config key is *read* by its family, *inert* (this file), or unknown. An unknown key whose name looks
like a size, a count or a structure is refused: guessing would be silent. Any other unknown key warns.
"""

from __future__ import annotations

import re

_NAMES = """
    _attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash
    _experts_implementation _flash_attn_2_enabled _moe_implementation _name_or_path _unsloth_version activation
    activation_func activation_function activation_situ_beta activation_situ_linear_beta add_cross_attention
    add_router_probs alpha_pattern apply_residual_connection_post_layernorm apply_rope architectures attention_dropout
    attention_in_multiplier attention_logit_cap attention_multiplier attention_out_multiplier
    attention_softmax_in_fp32 attention_value_scale attention_z_loss attn_bias_pdrop attn_dropout attn_factor
    attn_impl attn_implementation attn_logit_softcapping attn_output_multiplier attn_pdrop attn_scale
    attn_softmax_bf16 attn_temperature_tuning audio_token_id audio_token_index auto_map aux_loss_alpha aux_loss_weight
    bad_words_ids balance_loss_coef base_model_pp_plan base_model_tp_plan begin_suppress_tokens bf16
    bias_dropout_fusion boa_token_id boi_token_id boi_token_index bos_token_id bytes_per_token cache_implementation
    chunk_size_feed_forward clip_qkv compress_rope_parameters compress_rope_theta compression_rope_theta
    context_window_size decoder_start_token_id dense_act_fn deterministic_flash_attn diff_lr dim_model_base
    diversity_penalty do_sample dropout_rate dtype early_stopping emb_dropout embd_pdrop embedding_dropout
    embedding_multiplier embedding_multiplier_scale encoder_no_repeat_ngram_size end_token_id eoa_token_id
    eod_token_id eoi_token_id eoi_token_index eos_token_id ep_size eval_capacity_factor expert_capacity
    expert_capacity_factor expert_dropout exponential_decay_length_penalty fc_activation final_logit_softcapping
    final_logits_soft_cap finetuning_task flash_attn floor_scale for_llm_compressor forced_bos_token_id
    forced_eos_token_id fp16 fp32 full_attn_mod gate_lower_bound gradient_checkpointing gradient_checkpointing_step
    hc_eps hc_sinkhorn_iters hidden_act hidden_activation hidden_dropout hidden_dropout_prob id2label ignore_index
    im_end_id im_start_id image_end_token_id image_placeholder image_start_token_id image_token_id image_token_index
    indexer_rope_interleave init_method init_std initial_context_length initializer_factor initializer_m
    initializer_range input_jitter_eps input_jitter_noise interpolate_factor is_decoder is_encoder_decoder
    jitter_noise key_multiplier keys_to_ignore_at_inference label2id language latent_moe_act layer_norm_eps
    layer_norm_epsilon layer_rope_theta layernorm_eps layernorm_epsilon length_penalty llama_4_scaling
    lm_head_multiplier load_balancing_loss_coef logit_scale logit_softcap logits_scaling logits_soft_cap long_factor
    loss_type mamba_act mamba_chunk_size mamba_hidden_act mask_token_id max_attn_value max_batch_size max_length
    max_logit_value max_window_layers media_placeholder_token_id min_length mlp_act mlp_hidden_act mlp_multipliers
    mm_tokens_per_image model_max_length model_name model_name_or_path model_type moe_act
    moe_apply_router_weight_on_input moe_aux_loss moe_aux_loss_coeff moe_capacity moe_drop_tokens moe_dropout
    moe_eval_capacity_token_fraction moe_gate_act moe_grouped_gemm moe_implementation moe_layer_recompute
    moe_loss_coef moe_loss_weight moe_random_routing_dropout moe_renormalize moe_router_activation_func
    moe_router_dtype moe_router_load_balancing_type moe_router_pre_softmax moe_router_scaling_factor
    moe_router_score_function moe_router_topk_scaling_factor moe_router_use_sigmoid moe_scaling_factor
    moe_shared_expert_overlap moe_token_drop moe_z_loss_coef mrope_section mscale mscale_all_dim mtp_loss_coef
    mtp_loss_scaling_factor mup_base n_ctx n_special no_repeat_ngram_size no_rope_layer_interval no_rope_layers
    norm_eps norm_epsilon norm_expert_weight norm_softmax norm_topk_prob normalization_type normalize_expert_weights
    normalize_router_prob num_beam_groups num_beams num_logits_to_keep num_return_sequences
    original_max_position_embeddings original_rope_theta output_attentions output_dropout output_hidden_states
    output_multiplier output_multiplier_scale output_past output_router_logits output_scores pad_id pad_token_id
    padding_idx parallel_output partial_rotary_factor post_norm_eps predict_special_tokens prefill_chunk_size prefix
    pretraining_tp problem_type pruned_heads qk_layernorm_eps qk_scale_factor query_pre_attn_scalar
    remove_invalid_values reorder_and_upcast_attn repetition_penalty rescale_prenorm_residual resid_pdrop
    residual_dropout residual_in_fp32 residual_multiplier return_dict return_dict_in_generate rms_norm_eps
    rms_norm_epsilon rope_attention_scaling rope_interleave rope_interleaved rope_local_base_freq rope_parameters
    rope_ratio rope_scaling rope_theta rope_theta_local rope_type rotary_base rotary_dim rotary_emb_base
    rotary_emb_fraction rotary_pct rotary_percent rotary_type routed_scaling_factor router_act router_aux_loss_coef
    router_dtype router_entropy_coef router_ignore_padding_tokens router_jitter_noise router_scaling_factor
    router_score_function router_type router_z_loss_coef router_z_loss_weight scale_attention_softmax_in_fp32
    scale_attn_by_inverse_layer_idx scale_attn_weights scale_depth scale_emb scale_fmt score_func score_function
    scores_mul_before_moe scoring_func seed self_attention_dropout sep_token_id seq_aux seq_length short_factor
    softmax_scale sparse_score_type special_tokens ssm_in_multiplier ssm_multipliers ssm_out_multiplier
    summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj suppress_tokens
    swa_rope_theta swiglu_alpha swiglu_beta swiglu_limit task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder time_step_floor time_step_limit time_step_max time_step_min time_step_rank tokenizer_class
    tokenizer_name top_k top_p topk_method torch_dtype torchscript tp_plan transformers.js_config transformers_version
    typical_p unk_token_id unsloth_fixed unsloth_version use_bfloat16 use_cache use_deterministic_attn use_dynamic_ntk
    use_flash_attn use_fp8_e4m3 use_grouped_topk use_logn_attn use_mamba_kernels use_mrope use_rmsnorm use_rope
    use_unified_vision_chunk video_placeholder video_token_id video_token_index vision_end_token_id
    vision_feature_layer vision_feature_select_strategy vision_start_token_id vision_token_id zloss
"""

INERT = frozenset(_NAMES.split())
"""Names whose values change no parameter, cache byte or FLOP counted here."""

_INERT_SHAPE = re.compile(
    r".*(_token_ids?|_token_index|_tokens?|_dropout|_dropout_prob|_pdrop|_eps|_epsilon|_loss_coef|_theta|_act|_act_fn|_activation"
    r"|_multiplier|_scaling|_jitter|_temperature|_softcap|_softcapping|_alpha|_beta)$|^(_|rope_|rotary_|initializer_|init_|aux_loss|generation_).*"
)

SUSPICIOUS = re.compile(
    r"expert|moe|head|layer|dim|size|rank|lora|latent|kv|window|mtp|nextn|compress|index|share|block|width|hidden|inter|depth"
    r"|conv|state|ssm|mamba|linear|attn|attention|ffn|mlp|group|vocab|embed|tie|bias|norm|gate|router|num_|^n_|sparse|cla|proj"
    r"|altup|laurel|hc_|engram|mem|pattern|type|stride|chunk|topk|top_k|matri|adapter|cache|decoder|encoder|d_model|d_ff|hyper"
)


def inert(key: str) -> bool:
    """True when a key of this name is known to change no count."""
    return key in INERT or bool(_INERT_SHAPE.match(key))
