"""Published end-to-end numbers of devices and engines without kernel tables, and how their rows are read."""

from __future__ import annotations

import numpy as np
import pytest

from routeline.serving import checkpoint, classes, labels, names
from routeline.serving.predict import predict

SPARK, COLLECTION = "llama.cpp benches/dgx-spark.md", "XiongjieDai/GPU-Benchmarks-on-LLM-Inference, May 2024"
ANCHORS = [
    # model, device, engine, weights, prompt, generated, tokens/s of one stream, source, was a prior derived from it
    ("Llama-3.3-70B", "GB10", "vllm", "nvfp4", 512, 128, 4.1, "dgx-spark-playbooks PR 91", True),
    ("gpt-oss-20b", "GB10", "llama.cpp", "mxfp4", 16, 32, 84.1, SPARK, True),
    ("Qwen3-Coder-30B-A3B", "GB10", "llama.cpp", "q8_0", 16, 32, 60.9, SPARK, True),
    ("Qwen2.5-Coder-7B", "GB10", "llama.cpp", "q8_0", 16, 32, 29.3, SPARK, True),
    ("gpt-oss-120b", "GB10", "llama.cpp", "mxfp4", 16, 32, 59.0, SPARK, False),
    ("gpt-oss-20b", "GB10", "llama.cpp", "mxfp4", 32768, 32, 59.85, SPARK, False),
    ("gpt-oss-120b", "GB10", "llama.cpp", "mxfp4", 32768, 32, 41.35, SPARK, False),
    ("Qwen3-Coder-30B-A3B", "GB10", "llama.cpp", "q8_0", 8192, 32, 48.6, SPARK, False),
    ("Meta-Llama-3-8B", "RTX 3090", "llama.cpp", "q4_k_m", 16, 1024, 111.7, COLLECTION, True),
    ("Meta-Llama-3-8B", "RTX 3090", "llama.cpp", "f16", 16, 1024, 46.5, COLLECTION, True),
    ("Meta-Llama-3-8B", "RTX 4090", "llama.cpp", "q4_k_m", 16, 1024, 127.7, COLLECTION, True),
    ("Meta-Llama-3-8B", "RTX 4090", "llama.cpp", "f16", 16, 1024, 54.3, COLLECTION, True),
    ("Meta-Llama-3-8B", "RTX 4090", "llama.cpp", "q4_k_m", 16, 8192, 110.7, COLLECTION, False),
    ("Meta-Llama-3-8B", "RTX 3090", "llama.cpp", "f16", 16, 8192, 42.6, COLLECTION, False),
    ("Meta-Llama-3-8B", "M2 Ultra", "llama.cpp", "q4_k_m", 16, 1024, 76.3, COLLECTION, True),
    ("Llama-2-7B", "RTX 4090", "llama.cpp", "q4_0", 16, 512, 149.4, "the same, Dec 2023", False),
    ("Llama-2-7B", "RTX 3090", "llama.cpp", "f16", 16, 512, 51.9, "the same, Dec 2023", False),
    ("Llama-2-7B", "A100 80GB PCIe", "llama.cpp", "f16", 16, 512, 73.8, "the same, Dec 2023", True),
    ("Llama-2-7B", "A100 80GB PCIe", "llama.cpp", "q4_0", 16, 512, 136.2, "the same, Dec 2023", False),
    ("Llama-2-7B", "H100 PCIe", "llama.cpp", "f16", 16, 512, 83.3, "the same, Dec 2023", True),
    ("Llama-2-7B", "H100 PCIe", "llama.cpp", "q4_0", 16, 512, 133.8, "the same, Dec 2023", False),
    ("Llama-2-70B", "A100 80GB PCIe", "llama.cpp", "q4_0", 16, 512, 25.7, "the same, Dec 2023", False),
    ("Llama-2-7B", "M2 Ultra", "llama.cpp", "q4_0", 16, 512, 91.9, "the same, Dec 2023", False),
    ("Llama-2-7B", "M2 Ultra", "llama.cpp", "f16", 16, 512, 40.7, "the same, Dec 2023", False),
    ("Llama-2-70B", "M2 Ultra", "llama.cpp", "f16", 16, 512, 4.81, "the same, Dec 2023", False),
]


@pytest.fixture(scope="module")
def answers():
    keys = ("model", "device", "engine", "weights", "input_len", "output_len")
    rows = [dict(zip(keys, a[:6], strict=True)) | {"devices": 1, "concurrency": 1} for a in ANCHORS]
    return predict(rows)


def test_published_single_streams_are_near(answers):
    seen = np.array([1e3 / a[6] for a in ANCHORS])
    error = np.abs(np.array(answers["tpot_ms"]) / seen - 1.0)
    new = np.array([not a[8] for a in ANCHORS])
    assert np.median(error) < 0.10
    assert np.median(error[new]) < 0.12
    assert np.max(error) < 0.35
    inside = (np.array(answers["low"]) < seen) & (seen < np.array(answers["high"]))
    assert inside.mean() >= 0.8


@pytest.mark.parametrize(
    ("said", "meant"),
    [("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"), ("AMD Instinct MI300X", "MI300X"), ("MI300X OAM", "MI300X"),
     ("NVIDIA GeForce RTX 4090", "RTX 4090"), ("NVIDIA L40S", "L40S"), ("NVIDIA DGX Spark", "GB10"),
     ("H100-80GB-HBM3", "H100 SXM"), ("8x H100-SXM5-80GB", "H100 SXM"), ("Apple M2 Ultra", "M2 Ultra 192GB")],
)  # fmt: skip
def test_devices_as_people_write_them(said, meant):
    assert names.device(said).name == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [("unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF", "Qwen3-30B-A3B"),
     ("mlx-community/Qwen3-30B-A3B-4bit", "Qwen3-30B-A3B"),
     ("llama-3.1-8b-instruct-q4_k_m.gguf", "Llama-3.1-8B"),
     ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "Llama-3.1-70B"),
     ("amd/Llama-3.1-405B-Instruct-FP8-KV", "Llama-3.1-405B"), ("llama3.1:8b", "Llama-3.1-8B")],
)  # fmt: skip
def test_models_as_people_write_them(said, meant):
    assert names.find(said).name == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [("Q4_K_M", "q4_k_m"), ("UD-Q4_K_XL", "q4_k_m"), ("GPTQ-Int4", "gptq"), ("IQ4_XS", "iq4_xs"), ("w4a16", "w4a16"),
     ("FP8-dynamic", "fp8"), ("mlx-4bit", "mlx-4bit"), ("W8A8-INT8", "int8"), ("F16", "fp16"), ("MXFP4", "mxfp4")],
)  # fmt: skip
def test_formats_as_people_write_them(said, meant):
    assert labels.label(said) == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [("vLLM 0.9.1", "vllm"), ("TensorRT-LLM 1.0", "trtllm"), ("llama.cpp (CUDA)", "llama.cpp"),
     ("llama.cpp b4732", "llama.cpp"),
     ("Ollama", "llama-server"), ("MLX-LM", "mlx"), ("SGLang", "sglang")],
)  # fmt: skip
def test_engines_as_people_write_them(said, meant):
    assert classes.engine(said) == meant


ROW = {"model": "Qwen3-30B-A3B", "device": "H100", "engine": "vllm", "weights": "bf16", "input_len": 256,
       "output_len": 256, "concurrency": 16, "devices": 1}  # fmt: skip


def one(**change):
    return {k: v[0] for k, v in predict([ROW | change]).items()}


def test_a_format_in_the_name_counts_where_the_column_is_blank():
    named, asked = one(model="Qwen/Qwen3-32B-AWQ", weights=""), one(model="Qwen3-32B", weights="awq")
    assert named["tpot_ms"] == pytest.approx(asked["tpot_ms"])
    assert "from the model's name" in named["note"]


def test_routing_matters_and_spreading_tokens_reads_more():
    tpot = [one(routing=r)["tpot_ms"] for r in ("zipf:1.5", "uniform", "balanced")]
    assert tpot[0] < tpot[1] < tpot[2]
    assert one(routing="real")["tpot_ms"] == one()["tpot_ms"]


@pytest.mark.parametrize("change", [{"routing": "by moonlight"}, {"weights": "int3000"}])
def test_words_not_understood_widen_the_interval_and_are_said(change):
    plain, odd = one(weights=""), one(**({"weights": ""} | change))
    assert odd["tpot_ms"] == pytest.approx(plain["tpot_ms"])
    assert odd["high"] / odd["low"] > plain["high"] / plain["low"]
    assert "widened" in odd["note"] or "used" in odd["note"]


def test_gguf_files_hold_no_16_bit_matrices_beside_narrow_ones():
    model = names.find("gpt-oss-20b")
    bits = {w.bits for g in checkpoint.checkpoint(model, "mxfp4", "llama.cpp").layers for w in g.weights
            if w.matmul and w.part != "router"}  # fmt: skip
    assert max(bits) == 8.5
    assert max(w.bits for g in checkpoint.checkpoint(model, "mxfp4").layers for w in g.weights) == 16.0


def test_every_engine_prior_has_a_source():
    from routeline.serving import constants

    assert all(v.get("source") for name, v in constants.priors()["engines"].items() if name)
