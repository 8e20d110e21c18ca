"""Parameter totals of the reference modules, family by family.

reference.json holds, for each family, the load-bearing keys of its class's default configuration (often
with fewer layers) or of a model's shape, and the parameters that transformers (5.23.0 and 5.24.0) builds from it
on the meta device.
"""

import json
from pathlib import Path

import pytest
from hf_cases import cache

from routeline import counts
from routeline.hf import parse

CASES = json.loads(Path(__file__).with_name("reference.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[c["family"] for c in CASES])
def test_total_is_that_of_the_reference_modules(case):
    model = parse(case["config"], name=case["family"], source="transformers defaults")
    assert counts.total(model) == case["total"]
    free, capped, constant = cache(model)
    assert free + sum(capped.values()) + constant > 0
