"""Names, paths and Hugging Face ids; every catalogue row against its published size; a hub on 127.0.0.1."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from routeline import counts, dense, hf, models
from routeline.errors import RoutelineError, UnknownName
from routeline.models import catalogue, entry, load_model, model_names, resolve

NAMES = model_names()


def test_the_catalogue_is_large_dense_and_sparse_and_sourced():
    rows = catalogue()
    sparse = [r.name for r in rows if any(g.experts > 1 for g in load_model(r.name).layers)]
    assert len(rows) >= 100
    assert len(sparse) >= 50
    assert len(rows) - len(sparse) >= 30
    assert all(r.source and r.fidelity and r.id for r in rows)
    wanted = "DeepSeek-V3 DeepSeek-V2 DeepSeek-V3.2 DeepSeek-V4-Flash Qwen3-235B-A22B Grok-1 Switch-C "
    wanted += "Switch-C-config "
    wanted += (
        "Mixtral-8x7B Mixtral-8x22B gpt-oss-20b gpt-oss-120b Kimi-K2 GLM-5 MiniMax-M2.5 Llama-3.1-405B Qwen3.5-27B"
    )
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_loads_and_counts_what_was_published(name):
    model = load_model(name)
    published = entry(name).published
    total = counts.total(model)
    assert model.source
    assert 0 < counts.active(model).all <= total
    if published and name != "Switch-C":
        # cards round: 'Gemma 2 2B' holds 2.6 B; MTP and vision weights are in some published totals
        assert total == pytest.approx(published["total"], rel=0.06)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("DeepSeek-V3", 671_026_404_352, 37_552_282_624),
        ("Qwen3-235B-A22B", 235_093_634_560, 22_190_763_520),
        ("Grok-1", 315_684_820_992, 83_756_587_008),
        ("Switch-C", 1_571_261_049_120, 1_680_402_720),
        ("Mixtral-8x7B", 46_702_792_704, 12_879_925_248),
        ("Llama-3.1-405B", 405_853_388_800, 405_853_388_800),
        ("Kimi-K2", 1_026_408_209_408, 32_861_477_888),
        ("gpt-oss-120b", 116_829_156_672, 5_711_982_912),
    ],
)
def test_well_known_counts(name, total, active):
    model = load_model(name)
    assert counts.total(model) == total
    assert counts.active(model).all == active


def test_catalogue_rows_equal_the_raw_files(shared):
    folder = shared / "facts" / "models"
    for name in NAMES:
        if name.startswith("Switch-C"):
            continue
        raw = folder / "configs" / (entry(name).id.replace("/", "--") + ".json")
        side = folder / "hf_quant" / (raw.stem + "_hf_quant_config.json")
        if not raw.exists():
            continue
        quant = json.loads(side.read_text()) if side.exists() else None
        mine = load_model(name)
        theirs = models.hf.parse(json.loads(raw.read_text()), name=name, source="raw", quant=quant)
        assert mine.layers == theirs.layers, name
        assert (mine.embedding, mine.head, mine.extra) == (theirs.embedding, theirs.head, theirs.extra), name
        assert (mine.context_limit, mine.cache_format) == (theirs.context_limit, theirs.cache_format), name


def test_both_readings_of_switch_c_are_visible():
    paper, literal = load_model("Switch-C"), load_model("switch-c-config")
    assert counts.total(literal) == 786_234_286_080
    assert any("786.23 B" in w for w in paper.warnings)
    assert any("1571.26 B" in w for w in literal.warnings)
    assert sum(g.count for g in paper.layers if g.encoder) == 15


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("deepseek-v3", "DeepSeek-V3"),
        ("DEEPSEEK_V3", "DeepSeek-V3"),
        (" grok-1 ", "Grok-1"),
        ("switch-c", "Switch-C"),
        ("mixtral-8x7b", "Mixtral-8x7B"),
        ("Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B"),
        ("llama-3.1-70b", "Llama-3.1-70B"),
        ("qwen3-235b", "Qwen3-235B-A22B"),
        ("Kimi-K2-Instruct", "Kimi-K2"),
        ("no-such-model", None),
        ("", None),
    ],
)
def test_short_forms(given, name):
    assert resolve(given) == name


def test_ambiguity_is_refused_with_the_candidates():
    with pytest.raises(RoutelineError, match="ambiguous: Llama-4-Maverick, Llama-4-Scout"):
        load_model("llama-4")
    with pytest.raises(RoutelineError, match="ambiguous: gpt-oss-120b, gpt-oss-20b"):
        load_model("gpt-oss")


def test_a_miss_suggests():
    with pytest.raises(UnknownName) as miss:
        load_model("Deepseek-V5")
    assert "DeepSeek-V3" in miss.value.near
    for odd in ("", "   ", "a\0b", None, 7):
        with pytest.raises(RoutelineError, match="named by text"):
            load_model(odd)  # type: ignore[arg-type]


@pytest.fixture
def config():
    raw = json.loads(Path(models.FOLDER, "Qwen3-8B.json").read_text())
    return raw["config"]


def test_paths_to_files_and_folders(tmp_path, config):
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    plain = load_model(str(folder / "config.json"))
    assert plain.name == "my-model"
    assert plain.layers == load_model("Qwen3-8B").layers
    (folder / "hf_quant_config.json").write_text(
        json.dumps(
            {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
        )
    )
    quantized = load_model(str(folder))
    assert quantized.cache_format == "fp8"
    assert {w.bits for g in quantized.layers for w in g.weights if w.matmul} == {8.0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"architectures": ["LlamaForC', "not valid JSON"),
        ("[1, 2]", "holds no JSON object"),
        ("[" * 200_000, "nested too deeply"),
        (b"\xff\xfe\x00{", "not UTF-8"),
        ("1" * 5000, "not valid JSON"),
        (" " * 5_000_001, "bytes; a config.json has at most"),
        ("", "not valid JSON"),
    ],
)
def test_unreadable_files_end_in_one_sentence(tmp_path, content, said):
    file = tmp_path / "config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RoutelineError, match=said) as refused:
        load_model(str(file))
    assert "\n" not in str(refused.value)


def test_missing_paths_are_named(tmp_path):
    with pytest.raises(RoutelineError, match="no file or folder"):
        load_model(str(tmp_path / "absent.json"))
    with pytest.raises(RoutelineError, match=r"folder without a config\.json"):
        load_model(str(tmp_path))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(files):
    """A server that speaks the hub's resolve route: (id, file) -> bytes or a status code."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, body):
            parts = self.path.split("?")[0].strip("/").split("/")
            found = files.get(("/".join(parts[:2]), parts[-1])) if "resolve" in parts else None
            repositories = {owner for owner, _ in files}
            if isinstance(found, bytes):
                self.send_response(200)
                self.send_header("ETag", f'"{hashlib.sha1(found).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                if body:
                    self.wfile.write(found)
                return
            code = {403: "GatedRepo"}.get(found or 0)
            if code is None:
                known = "/".join(parts[:2]) in repositories
                code, found = ("EntryNotFound", 404) if known else ("RepoNotFound", 404)
            self.send_response(found)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


ASK = """
import sys
from routeline.errors import RoutelineError
from routeline.models import load_model
try:
    m = load_model(sys.argv[1])
    print("OK", m.name, m.cache_format, sum(g.count for g in m.layers), "|", m.source)
except RoutelineError as e:
    print("NO", e)
"""


def ask(name, endpoint, cache, **env):
    """load_model in a fresh process, as HF_ENDPOINT is read when huggingface_hub is imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    kept |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"} | env
    done = subprocess.run(
        [sys.executable, "-c", ASK, name], env=kept, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def test_hugging_face_ids_are_fetched_cached_and_refused(tmp_path, config):
    pytest.importorskip("huggingface_hub")
    body = json.dumps(config).encode()
    side = json.dumps({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}).encode()
    files = {
        ("someone/qwen", "config.json"): body,
        ("someone/qwen-fp8", "config.json"): body,
        ("someone/qwen-fp8", "hf_quant_config.json"): side,
        ("someone/broken", "config.json"): b'{"architectures": [',
        ("someone/gated", "config.json"): 403,
        ("someone/empty", "README.md"): b"nothing",
    }
    with hub(files) as endpoint:
        plain = ask("someone/qwen", endpoint, tmp_path)
        assert plain == f"OK someone/qwen None 36.0 | huggingface hub: someone/qwen at {COMMIT[:12]}"
        assert ask("someone/qwen-fp8", endpoint, tmp_path).startswith("OK someone/qwen-fp8 fp8 36.0")
        assert "not valid JSON" in ask("someone/broken", endpoint, tmp_path)
        assert "is gated" in ask("someone/gated", endpoint, tmp_path)
        assert "has no config.json" in ask("someone/empty", endpoint, tmp_path)
        assert "does not exist or is private" in ask("someone/absent", endpoint, tmp_path)
    # the server is gone: what was fetched is cached, what was not is refused in one sentence
    dead = "http://127.0.0.1:9"
    assert ask("someone/qwen", dead, tmp_path, HF_HUB_OFFLINE="1").startswith("OK someone/qwen ")
    offline = ask("deepseek-ai/DeepSeek-V3", dead, tmp_path, HF_HUB_OFFLINE="1")
    assert offline.startswith("NO deepseek-ai/DeepSeek-V3 ")
    assert "the catalogue has DeepSeek-V3" in offline
    assert ask("someone/never", dead, tmp_path).startswith("NO someone/never ")
    assert "neither an existing path nor a Hugging Face id" in ask("a/b/c", dead, tmp_path)


def test_a_folder_here_comes_before_an_ambiguous_short_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RoutelineError, match="ambiguous"):
        load_model("falcon")
    (tmp_path / "falcon").mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "vocab_size": 100,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}  # fmt: skip
    (tmp_path / "falcon" / "config.json").write_text(json.dumps(config))
    assert load_model("falcon").layers[0].count == 2


def test_a_model_without_feed_forward_layers_has_no_dense_shape():
    config = {"architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 256, "num_hidden_layers": 4,
              "vocab_size": 1000, "state_size": 16, "conv_kernel": 4, "expand": 2, "intermediate_size": 512,
              "time_step_rank": 16, "use_bias": False, "use_conv_bias": True, "tie_word_embeddings": True}  # fmt: skip
    with pytest.raises(RoutelineError, match=r"no feed-forward layers to resize; name another model with --dense"):
        dense.matched(hf.parse(config, name="tiny", source="handmade"), 1.0, "same-attention")
