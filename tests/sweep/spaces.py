"""Spaces that several tests share."""

from routeline.sweep import make

OUTPUTS = ["ratio", "reuse_penalty", "headroom_gain", "moe_batch", "dense_step", "verdict", "reason"]


def small(**change):
    """72,000 points over two layouts: some infeasible, some refused; 20 blocks."""
    axes = {
        "layout": ["pooled", "tp8"],
        "context": {"from": "4k", "to": "128k", "n": 30, "scale": "log"},
        "utilisation": {"from": 0.75, "to": 0.95, "n": 20},
        "q": {"from": 0.2, "to": 12, "n": 60},
    }
    settings = {"model": "DeepSeek-V3", "devices": "8xH200", "weights": "fp8", "tier": "ideal", "block": 2**12}
    settings |= {"outputs": OUTPUTS} | change
    return make(settings.pop("axes", axes), **settings)


REDUCE = {
    "map": {"kind": "verdict", "by": ["layout", "context"]},
    "best": {"kind": "best", "output": "ratio", "by": ["layout"], "keep": ["headroom_gain"]},
    "front": {"kind": "pareto", "outputs": {"ratio": "max", "dense_step": "min"}, "by": ["layout"]},
    "histogram": {"kind": "histogram", "output": "ratio", "low": 0.5, "high": 3.0, "bins": 25, "by": ["layout"]},
    "spread": {"kind": "quantiles", "output": "ratio", "over": "q", "probabilities": [0.1, 0.5, 0.9]},
    "stats": {"kind": "stats", "output": "ratio", "by": ["context"]},
}
