"""All real config.json files of ../shared against the oracle's counts and caches, number by number."""

import csv
import json

import pytest
from hf_cases import cache

from routeline import counts
from routeline.errors import RoutelineError
from routeline.hf import parse


def rows(path):
    with open(path, encoding="utf-8") as f:
        return {r["model"]: r for r in csv.DictReader(f)}


@pytest.fixture(scope="module")
def facts(shared):
    return shared / "facts" / "models"


@pytest.fixture(scope="module")
def answers(facts):
    """name -> Model or the refusal, for every file."""
    out = {}
    for file in sorted((facts / "configs").glob("*.json")):
        side = facts / "hf_quant" / f"{file.stem}_hf_quant_config.json"
        quant = json.loads(side.read_text()) if side.exists() else None
        try:
            out[file.stem] = parse(json.loads(file.read_text()), name=file.stem, source=str(file), quant=quant)
        except RoutelineError as refusal:
            out[file.stem] = refusal
    return out


def answered(answers):
    return {k: m for k, m in answers.items() if not isinstance(m, RoutelineError)}


def test_nearly_all_files_are_answered(answers):
    refused = {k: str(m) for k, m in answers.items() if isinstance(m, RoutelineError)}
    assert len(answers) >= 127
    assert len(answers) - len(refused) >= 118, refused


def test_total_and_active_are_the_oracles(answers, facts):
    oracle = rows(facts / "oracle.csv")
    wrong = {}
    for name, model in answered(answers).items():
        if name in oracle:
            mine = counts.total(model), counts.active(model).all
            theirs = float(oracle[name]["total"]), float(oracle[name]["active_text"])
            if mine != theirs:
                wrong[name] = (mine, theirs)
    assert not wrong


def test_parts_that_the_oracle_names_alike_agree(answers, facts):
    oracle = rows(facts / "oracle.csv")
    columns = {"embed": "embedding", "lm_head": "head", "router": "router", "routed": "routed", "vision": "vision"}
    wrong = []
    for name, model in answered(answers).items():
        parts = counts.parameters(model)
        for column, part in columns.items():
            said = oracle.get(name, {}).get(column)
            if said and float(said) != parts[part]:
                wrong.append((name, part, parts[part], said))
    assert not wrong


def test_cache_bytes_are_the_oracles(answers, facts):
    kv = rows(facts / "kv.csv")
    wrong = {}
    for name, model in answered(answers).items():
        if name not in kv:
            continue
        row = kv[name]
        free, capped, constant = cache(model)
        said = (
            float(row["bytes_per_token_unbounded"]),
            float(row["window_layer_bytes_per_token"]),
            float(row["constant_bytes_per_seq"]),
        )
        caps = {float(row["window_cap_tokens"])} if capped else set()
        if (free, sum(capped.values()), constant) != said or set(capped) != caps:
            wrong[name] = (free, capped, constant, said)
    assert not wrong


def test_mtp_layers_agree_except_v4(answers, facts):
    """DeepSeek-V4's rows count its MTP layer as a CSA layer without a hyper-head; its file says ratio 0."""
    for name, row in rows(facts / "mtp.csv").items():
        mine = counts.parameters(answers[name])["mtp"]
        theirs = float(row["mtp_total_without_embed_head_copies"])
        assert mine == pytest.approx(theirs, rel=0.004 if "V4" in name else 0), name
        assert answers[name].mtp_layers == int(row["num_nextn"])


def test_every_answer_is_whole(answers):
    for name, model in answered(answers).items():
        assert model.embedding.params > 0, name
        for group in model.layers:
            assert group.count >= 1
            assert group.weights, name
            assert 1 <= group.top_k <= group.experts
            assert all(w.params > 0 and 4 <= w.bits <= 32 for w in group.weights), name


def test_wrong_switch_file_is_answered_with_the_paper_and_says_so(answers):
    model = answers["google--switch-c-2048"]
    assert counts.total(model) == 1_571_261_049_120
    assert "786.23 B" in model.warnings[0]
