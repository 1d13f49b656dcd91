"""Config files as they are on the Hub, in older and newer spellings, and what is refused by name."""

import math

import pytest
import torch
from transformers import GenerationConfig

from lens.families import FAMILIES, convert, family_of
from lens.families.attributes import ignoring
from tests.families.variants import LLAMA3_ROPE, VARIANTS
from tests.helpers import hf_llama

NEVER_RUN = {"AutoConfig": "configuration_x.Config", "AutoModelForCausalLM": "modeling_x.Model"}


def read(config):
    return family_of(config).config(config)


class TestSpellings:
    """Shortened only by what no family reads (token ids, dropout, dtypes)."""

    def test_distilgpt2_and_the_larger_gpt2s(self):
        cfg = read(
            {
                "_num_labels": 1,
                "activation_function": "gelu_new",
                "id2label": {"0": "LABEL_0"},
                "layer_norm_epsilon": 1e-05,
                "model_type": "gpt2",
                "n_ctx": 1024,
                "n_embd": 768,
                "n_head": 12,
                "n_layer": 6,
                "n_positions": 1024,
                "n_special": 0,
                "output_past": True,
                "predict_special_tokens": True,
                "summary_proj_to_labels": True,
                "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
                "vocab_size": 50257,
            }
        )
        assert (cfg.n_layers, cfg.d_mlp, cfg.tied, cfg.attn_scale) == (6, 3072, True, 8)

    def test_gpt_neo_125m(self):
        cfg = read(
            {
                "activation_function": "gelu_new",
                "attention_layers": ["global", "local"] * 6,
                "attention_types": [[["global", "local"], 6]],
                "hidden_size": 768,
                "intermediate_size": None,
                "layer_norm_epsilon": 1e-05,
                "max_position_embeddings": 2048,
                "model_type": "gpt_neo",
                "num_heads": 12,
                "num_layers": 12,
                "summary_type": "cls_index",
                "vocab_size": 50257,
                "window_size": 256,
            }
        )
        assert (cfg.attn_scale, cfg.windows, cfg.d_mlp, cfg.tied) == (1.0, (None, 256) * 6, 3072, True)

    def test_opt_125m(self):
        cfg = read(
            {
                "_remove_final_layer_norm": False,
                "activation_dropout": 0.0,
                "activation_function": "relu",
                "do_layer_norm_before": True,
                "ffn_dim": 3072,
                "hidden_size": 768,
                "init_std": 0.02,
                "layerdrop": 0.0,
                "max_position_embeddings": 2048,
                "model_type": "opt",
                "num_attention_heads": 12,
                "num_hidden_layers": 12,
                "prefix": "</s>",
                "vocab_size": 50272,
                "word_embed_proj_dim": 768,
            }
        )
        assert (cfg.act_fn, cfg.n_ctx, cfg.tied) == ("relu", 2048, True)

    def test_gptj_6b(self):
        cfg = read(
            {
                "activation_function": "gelu_new",
                "gradient_checkpointing": False,
                "layer_norm_epsilon": 1e-05,
                "model_type": "gptj",
                "n_embd": 4096,
                "n_head": 16,
                "n_inner": None,
                "n_layer": 28,
                "n_positions": 2048,
                "rotary": True,
                "rotary_dim": 64,
                "scale_attn_weights": True,
                "task_specific_params": {"text-generation": {"do_sample": True}},
                "tie_word_embeddings": False,
                "tokenizer_class": "GPT2Tokenizer",
                "vocab_size": 50400,
            }
        )
        assert (cfg.rotary_dim, cfg.rotary_adjacent, cfg.parallel, cfg.d_head) == (64, True, True, 256)

    def test_pythia_in_the_old_and_the_new_spelling(self):
        size = {
            "hidden_act": "gelu",
            "hidden_size": 512,
            "intermediate_size": 2048,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 2048,
            "model_type": "gpt_neox",
            "num_attention_heads": 8,
            "num_hidden_layers": 6,
            "tie_word_embeddings": False,
            "use_parallel_residual": True,
            "vocab_size": 50304,
        }
        old = read(size | {"rotary_emb_base": 10000, "rotary_pct": 0.25, "rope_scaling": None})
        new = read(
            size | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}}
        )
        assert old == new
        assert (old.rotary_dim, old.parallel) == (16, True)

    def test_bloom_560m(self):
        cfg = read(
            {
                "apply_residual_connection_post_layernorm": False,
                "attention_softmax_in_fp32": True,
                "bias_dropout_fusion": True,
                "layer_norm_epsilon": 1e-05,
                "masked_softmax_fusion": True,
                "model_type": "bloom",
                "n_embed": 1024,
                "n_inner": None,
                "n_layer": 24,
                "num_attention_heads": 16,
                "offset_alibi": 100,
                "pretraining_tp": 1,
                "seq_length": 2048,
                "skip_bias_add": True,
                "skip_bias_add_qkv": False,
                "slow_but_exact": False,
                "unk_token_id": 0,
                "vocab_size": 250880,
            }
        )
        assert (cfg.positions, cfg.embed_norm, cfg.n_ctx, cfg.n_heads) == ("alibi", True, 2048, 16)

    def test_llama_31_scales_only_slow_rotations(self):
        rope = {k: v for k, v in LLAMA3_ROPE.items() if k != "rope_theta"} | {"original_max_position_embeddings": 8192}
        cfg = read(
            {
                "attention_bias": False,
                "hidden_act": "silu",
                "hidden_size": 4096,
                "intermediate_size": 14336,
                "max_position_embeddings": 131072,
                "mlp_bias": False,
                "model_type": "llama",
                "num_attention_heads": 32,
                "num_hidden_layers": 32,
                "num_key_value_heads": 8,
                "pretraining_tp": 1,
                "rms_norm_eps": 1e-05,
                "rope_scaling": rope,
                "rope_theta": 500000.0,
                "tie_word_embeddings": False,
                "vocab_size": 128256,
            }
        )
        assert cfg.rotary_base == 500000
        assert cfg.rotary_divisors[0] == 1
        assert math.isclose(cfg.rotary_divisors[-1], 8)
        assert list(cfg.rotary_divisors) == sorted(cfg.rotary_divisors)

    def test_gemma_2_2b(self):
        cfg = read(
            {
                "attention_bias": False,
                "attn_logit_softcapping": 50.0,
                "cache_implementation": "hybrid",
                "final_logit_softcapping": 30.0,
                "head_dim": 256,
                "hidden_act": "gelu_pytorch_tanh",
                "hidden_activation": "gelu_pytorch_tanh",
                "hidden_size": 2304,
                "intermediate_size": 9216,
                "max_position_embeddings": 8192,
                "model_type": "gemma2",
                "num_attention_heads": 8,
                "num_hidden_layers": 26,
                "num_key_value_heads": 4,
                "query_pre_attn_scalar": 256,
                "rms_norm_eps": 1e-06,
                "rope_theta": 10000.0,
                "sliding_window": 4096,
                "sliding_window_size": 4096,
                "vocab_size": 256000,
            }
        )
        assert cfg.windows == (4096, None) * 13
        assert (cfg.attn_scale, cfg.attn_softcap, cfg.final_softcap, cfg.tied) == (16, 50, 30, True)
        assert (cfg.embed_scale, cfg.act_fn, cfg.post_norm) == (48, "gelu_new", True)

    def test_gemma_3_1b_and_the_text_of_12b(self):
        small = read(
            {
                "attention_bias": False,
                "attn_logit_softcapping": None,
                "cache_implementation": "hybrid",
                "final_logit_softcapping": None,
                "head_dim": 256,
                "hidden_activation": "gelu_pytorch_tanh",
                "hidden_size": 1152,
                "intermediate_size": 6912,
                "max_position_embeddings": 32768,
                "model_type": "gemma3_text",
                "num_attention_heads": 4,
                "num_hidden_layers": 26,
                "num_key_value_heads": 1,
                "query_pre_attn_scalar": 256,
                "rms_norm_eps": 1e-06,
                "rope_local_base_freq": 10000,
                "rope_scaling": None,
                "rope_theta": 1000000,
                "sliding_window": 512,
                "sliding_window_pattern": 6,
                "vocab_size": 262144,
            }
        )
        assert small.windows == ((512,) * 5 + (None,)) * 4 + (512, 512)
        assert (small.rotary_base, small.local_rotary_base, small.rotary_divisors) == (1e6, 1e4, None)
        large = read(
            {
                "boi_token_index": 255999,
                "eoi_token_index": 256000,
                "image_token_index": 262144,
                "mm_tokens_per_image": 256,
                "model_type": "gemma3",
                "text_config": {
                    "hidden_size": 3840,
                    "intermediate_size": 15360,
                    "model_type": "gemma3_text",
                    "num_attention_heads": 16,
                    "num_hidden_layers": 48,
                    "num_key_value_heads": 8,
                    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                    "sliding_window": 1024,
                },
                "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
            }
        )
        assert (large.d_head, large.d_vocab, large.n_ctx) == (256, 262208, 131072)
        assert large.rotary_divisors == (8.0,) * 128
        assert large.windows[:6] == (1024,) * 5 + (None,)

    def test_phi_2(self):
        cfg = read(
            {
                "hidden_act": "gelu_new",
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "layer_norm_eps": 1e-05,
                "max_position_embeddings": 2048,
                "model_type": "phi",
                "num_attention_heads": 32,
                "num_hidden_layers": 32,
                "num_key_value_heads": 32,
                "partial_rotary_factor": 0.4,
                "qk_layernorm": False,
                "rope_scaling": None,
                "rope_theta": 10000.0,
                "tie_word_embeddings": False,
                "vocab_size": 51200,
            }
        )
        assert (cfg.rotary_dim, cfg.d_head, cfg.parallel) == (32, 80, True)

    def test_phi_3_mini_of_4k_and_128k(self):
        size = {
            "attention_bias": False,
            "auto_map": NEVER_RUN,
            "hidden_act": "silu",
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "model_type": "phi3",
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 32,
            "original_max_position_embeddings": 4096,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "vocab_size": 32064,
        }
        short = read(size | {"max_position_embeddings": 4096, "rope_scaling": None, "sliding_window": 2047})
        assert (short.windows, short.n_ctx, short.rotary_divisors) == ((2047,) * 32, 4096, None)
        rope = {"type": "su", "short_factor": [1.05] * 48, "long_factor": [64.0] * 48}
        long = read(size | {"max_position_embeddings": 131072, "rope_scaling": rope, "sliding_window": 262144})
        assert (long.windows, long.n_ctx, long.rotary_divisors) == (None, 4096, (1.05,) * 48)
        assert math.isclose(long.rotary_gain, math.sqrt(1 + math.log(32) / math.log(4096)))

    def test_falcon_40b_and_rw_1b(self):
        size = {
            "apply_residual_connection_post_layernorm": False,
            "auto_map": NEVER_RUN,
            "layer_norm_epsilon": 1e-05,
            "model_type": "falcon",
        }
        large = read(
            size
            | {
                "alibi": False,
                "bias": False,
                "hidden_size": 8192,
                "multi_query": True,
                "new_decoder_architecture": True,
                "num_attention_heads": 128,
                "num_hidden_layers": 60,
                "num_kv_heads": 8,
                "parallel_attn": True,
                "vocab_size": 65024,
            }
        )
        assert (large.n_kv_heads, large.positions, large.parallel, large.n_ctx) == (8, "rotary", True, 2048)
        small = read(
            size
            | {
                "alibi": True,
                "bias": True,
                "hidden_size": 2048,
                "multi_query": False,
                "new_decoder_architecture": False,
                "num_attention_heads": 32,
                "num_hidden_layers": 24,
                "parallel_attn": False,
                "vocab_size": 50304,
            }
        )
        assert (small.n_kv_heads, small.positions, small.alibi_scale, small.parallel) == (32, "alibi", 1 / 8, False)

    def test_mpt_7b(self):
        cfg = read(MPT_7B)
        assert (cfg.positions, cfg.d_mlp, cfg.clip_qkv, cfg.n_ctx) == ("alibi", 4 * 4096, None, 2048)

    def test_olmo_3_7b_scales_only_its_global_layers(self):
        rope = {"beta_fast": 32, "beta_slow": 1, "factor": 8.0, "original_max_position_embeddings": 8192}
        cfg = read(
            {
                "attention_bias": False,
                "hidden_act": "silu",
                "hidden_size": 4096,
                "intermediate_size": 11008,
                "layer_types": [*["sliding_attention"] * 3, "full_attention"] * 8,
                "max_position_embeddings": 65536,
                "model_type": "olmo3",
                "num_attention_heads": 32,
                "num_hidden_layers": 32,
                "num_key_value_heads": 32,
                "rms_norm_eps": 1e-06,
                "rope_scaling": rope | {"attention_factor": 1.2079441541679836, "rope_type": "yarn"},
                "rope_theta": 500000,
                "sliding_window": 4096,
                "tie_word_embeddings": False,
                "vocab_size": 100278,
            }
        )
        assert cfg.windows == (4096, 4096, 4096, None) * 8
        assert (cfg.rotary_base, cfg.local_rotary_base, cfg.rotary_gain) == (5e5, 5e5, 1.2079441541679836)
        assert (cfg.rotary_divisors[0], cfg.rotary_divisors[-1], cfg.pre_norm) == (1, 8, False)

    def test_qwen2_reads_its_window_only_where_it_is_used(self):
        size = {
            "hidden_act": "silu",
            "hidden_size": 896,
            "intermediate_size": 4864,
            "max_position_embeddings": 32768,
            "max_window_layers": 24,
            "model_type": "qwen2",
            "num_attention_heads": 14,
            "num_hidden_layers": 24,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 4096,
            "tie_word_embeddings": True,
            "use_mrope": False,
            "vocab_size": 151936,
        }
        assert read(size | {"use_sliding_window": False}).windows is None
        used = read(size | {"use_sliding_window": True, "max_window_layers": 20})
        assert used.windows == (None,) * 20 + (4096,) * 4


MPT_7B = {
    "attn_config": {
        "alibi": True,
        "alibi_bias_max": 8,
        "attn_impl": "torch",
        "attn_pdrop": 0,
        "attn_type": "multihead_attention",
        "attn_uses_sequence_id": False,
        "clip_qkv": None,
        "prefix_lm": False,
        "qk_ln": False,
        "softmax_scale": None,
    },
    "auto_map": NEVER_RUN,
    "d_model": 4096,
    "embedding_fraction": 1.0,
    "expansion_ratio": 4,
    "init_config": {"name": "kaiming_normal_"},
    "init_device": "cpu",
    "learned_pos_emb": True,
    "logit_scale": None,
    "max_seq_len": 2048,
    "model_type": "mpt",
    "n_heads": 32,
    "n_layers": 32,
    "no_bias": True,
    "norm_type": "low_precision_layernorm",
    "tokenizer_name": "EleutherAI/gpt-neox-20b",
    "verbose": 0,
    "vocab_size": 50432,
}


class TestWhatCannotChangeANumber:
    """Fields that tools, training and former versions leave in a config file: the model is the same with them."""

    @pytest.mark.parametrize(
        "field",
        [
            {"unsloth_version": "2025.3", "unsloth_fixed": True, "_commit_hash": "abc", "_private": [1]},
            {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_length": 20, "suppress_tokens": [1, 2]},
            {"repetition_penalty": 1.1, "num_beam_groups": 1, "diversity_penalty": 0.0, "forced_eos_token_id": 2},
            {"torchscript": False, "use_bfloat16": True, "tf_legacy_loss": False, "name_or_path": "/home/me/model"},
            {"attn_implementation": "flash_attention_2", "use_flash_attn": True, "tie_encoder_decoder": False},
            {"pruned_heads": {}, "quantization_config": None, "something_new": None, "adapters": [], "notes": ""},
            {"layer_types": ["full_attention"] * 3},
        ],
        ids=lambda field: next(iter(field)),
    )
    @pytest.mark.parametrize("variant", ["llama", "gpt2", "gpt-neox", "opt", "qwen2", "mistral-without-window", "phi3"])
    def test_it_is_passed_over(self, variant, field):
        config = VARIANTS[variant]().config.to_dict()
        assert read(config | field) == read(config)

    def test_layers_that_all_see_the_window_of_the_model(self):
        config = VARIANTS["mistral"]().config.to_dict()
        assert read(config | {"layer_types": ["sliding_attention"] * 3}) == read(config)

    def test_no_setting_of_generation_is_needed_one_by_one(self):
        """Whatever transformers keeps in a generation config, in this version or the next."""
        config = VARIANTS["llama"]().config.to_dict()
        assert read(config | dict.fromkeys(GenerationConfig().to_dict(), 1)) == read(config)


class TestRefusals:
    """What would be computed wrongly is refused with the name of the attribute."""

    @pytest.mark.parametrize(
        ("variant", "changes", "named"),
        [
            ("llama", {"sliding_window_pattern": 6}, "sliding_window_pattern"),
            ("llama", {"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
            ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0}}, "mscale"),
            ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, "dynamic"),
            ("llama", {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 2]}}, "mrope_section"),
            ("llama", {"rope_parameters": {"rope_type": "linear"}}, "lack factor"),
            ("llama", {"rope_scaling": {"type": "llama3", "factor": 8.0}}, "lack high_freq_factor, low_freq_factor"),
            ("llama", {"hidden_act": "tanh"}, "tanh"),
            ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
            ("llama", {"num_key_value_heads": 3}, "3 key/value heads"),
            ("llama", {"rope_interleaved": True}, "rope_interleaved"),
            ("llama", {"hidden_size": None}, "hidden_size"),
            ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
            ("gpt-neo", {"attention_types": [[["global"], 2]], "attention_layers": None}, "attention_types"),
            ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before"),
            ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim"),
            ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm"),
            ("gptj", {"rotary": False}, "rotary"),
            ("bloom", {"apply_residual_connection_post_layernorm": True}, "post_layernorm"),
            ("falcon-7b", {"num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn"),
            ("falcon-40b", {"parallel_attn": False}, "parallel_attn"),
            ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
            ("gemma2", {"layer_types": ["chunked_attention"] * 3}, "chunked_attention"),
            ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
            ("mistral", {"layer_types": ["full_attention"] * 3}, "layer_types"),
            ("phi3", {"lm_head_bias": True}, "lm_head_bias"),
        ],
    )
    def test_what_lens_does_not_compute_is_named(self, variant, changes, named):
        config = VARIANTS[variant]().config.to_dict()
        with pytest.raises(ValueError, match=named):
            read(config | changes)

    @pytest.mark.parametrize(
        ("variant", "changes", "named"),
        [
            ("llama", {"attention_multiplier": 0.5}, "attention_multiplier"),
            ("llama", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
            ("llama", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layer_types"),
            ("llama", {"per_layer_config": {"0": {"head_dim": 4}}}, "per_layer_config"),
            ("gemma3-with-vision", {"text_config": {"hidden_size": 32, "new": 1}}, "text_config.new"),
            ("mistral", {"layer_types": ["full_attention"] * 3}, "layer_types"),
            ("mistral-without-window", {"layer_types": ["sliding_attention"] * 3}, "layer_types"),
        ],
    )
    def test_what_could_change_the_numbers_is_named_with_the_way_out(self, variant, changes, named):
        config = VARIANTS[variant]().config.to_dict() | changes
        with pytest.raises(ValueError, match=rf"ignore=\['{named}'\]"):
            read(config)
        shorter = ignoring(config, [named])
        assert f"{named}=" in shorter.note
        assert named not in shorter.config

    def test_a_slip_in_what_is_to_be_ignored_is_named(self):
        config = VARIANTS["llama"]().config.to_dict()
        with pytest.raises(ValueError, match=r"'atention_bias'.*attention_bias"):
            ignoring(config, ["atention_bias"])
        assert ignoring(config, []) == (config, "")

    @pytest.mark.parametrize(
        "changes",
        [{"alibi": False}, {"qk_ln": True}, {"alibi_bias_max": 4}, {"attn_type": "multiquery_attention"}, {"new": 1}],
    )
    def test_what_mpt_may_ask_of_attention_is_named(self, changes):
        with pytest.raises(ValueError, match=next(iter(changes))):
            read(MPT_7B | {"attn_config": MPT_7B["attn_config"] | changes})

    @pytest.mark.parametrize(
        ("model_type", "kind"),
        [
            ("mixtral", "mixtures of experts"),
            ("bert", "encoders: every token"),
            ("t5", "encoders with decoders"),
            ("mamba", "state-space"),
            ("made_up", "computes bloom, falcon"),
            (None, "no model_type"),
        ],
    )
    def test_a_kind_of_model_that_is_not_computed_is_named(self, model_type, kind):
        with pytest.raises(ValueError, match=kind):
            family_of({"model_type": model_type})

    def test_missing_left_over_and_misshapen_tensors_are_named(self):
        hf = hf_llama()
        config, state = hf.config.to_dict(), hf.state_dict()
        family, cfg = family_of(config), read(config)
        name = "model.layers.1.self_attn.k_proj.weight"
        with pytest.raises(ValueError, match=r"lack.*k_proj"):
            convert(family, cfg, {key: value for key, value in state.items() if key != name})
        with pytest.raises(ValueError, match=r"1 tensors have no place.*q_norm"):
            convert(family, cfg, state | {"model.layers.1.self_attn.q_norm.weight": torch.ones(8)})
        with pytest.raises(ValueError, match=r"k_proj.weight' has shape \[31, 32\]"):
            convert(family, cfg, state | {name: state[name][1:]})

    def test_a_packed_tensor_of_another_size_is_named(self):
        hf = VARIANTS["phi3"]()
        config, state = hf.config.to_dict(), hf.state_dict()
        name = "model.layers.1.self_attn.qkv_proj.weight"
        with pytest.raises(ValueError, match=r"qkv_proj.weight' has shape \[63, 32\]"):
            convert(family_of(config), read(config), state | {name: state[name][1:]})

    def test_a_bias_that_the_config_leaves_out_is_refused_in_the_file(self):
        biased, plain = VARIANTS["llama-biases"](), VARIANTS["llama-grouped"]()
        config = plain.config.to_dict()
        with pytest.raises(ValueError, match="have no place"):
            convert(family_of(config), read(config), biased.state_dict())


def test_every_family_has_a_variant():
    tested = {make().config.model_type for make in VARIANTS.values()}
    assert tested == set(FAMILIES)
