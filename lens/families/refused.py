"""Kinds of model that Lens does not compute, and why, so that a refusal says more than a name."""

KINDS = {
    "mixtures of experts: a router sends each token to a few of many MLPs": """
        afmoe dbrx deepseek_v2 deepseek_v3 deepseek_v32 dots1 ernie4_5_moe exaone_moe flex_olmo glm4_moe glm4_moe_lite
        gpt_oss granitemoe granitemoeshared hunyuan_v1_moe jetmoe llama4 llama4_text lfm2_moe minimax minimax_m2 mixtral
        olmoe phimoe qwen2_moe qwen3_moe qwen3_next solar_open
    """,
    "encoders: every token sees the tokens after it as well": """
        albert bert bert-generation camembert deberta deberta-v2 distilbert electra ernie esm eurobert flaubert
        hubert mobilebert modernbert mpnet nomic_bert roberta roberta-prelayernorm squeezebert wav2vec2 xlm-roberta
        xlm-roberta-xl
    """,
    "encoders with decoders: what is written looks back at an encoded input": """
        bart blenderbot flan-t5 fsmt led longt5 m2m_100 marian mbart mt5 pegasus pegasus_x prophetnet
        switch_transformers t5 t5gemma umt5 whisper
    """,
    "state-space or recurrent models: they keep a state instead of attending to the tokens before": """
        bamba falcon_h1 falcon_mamba granitemoehybrid jamba mamba mamba2 nemotron_h recurrent_gemma rwkv xlstm zamba
        zamba2
    """,
}
KIND_OF = {model_type: kind for kind, listed in KINDS.items() for model_type in listed.split()}


def refusal(model_type: object, supported: list[str]) -> str:
    """One sentence on why models of this type are not computed."""
    if model_type in KIND_OF:
        return (
            f"{model_type!r} models are {KIND_OF[model_type]}. Lens computes decoders in which each layer is "
            "causal attention and one MLP."
        )
    if model_type is None:
        return "The config has no model_type, so Lens cannot tell what to compute."
    return f"Lens does not compute models of type {model_type!r} yet; it computes {', '.join(supported)}."
