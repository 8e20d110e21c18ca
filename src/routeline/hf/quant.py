"""quantization_config and hf_quant_config.json -> stored bits and compute format of every weight.

Bits include the scales. The compute format is the wider of weights and activations where the config
states both ("W4A16": bf16), else the weights' own. Embeddings, norms, biases and routers stay in the
model's dtype unless a rule names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..arch import FORMATS, Weight
from ..errors import RoutelineError, shorten
from .patterns import Patterns
from .reader import Reader

DTYPES = {
    "bfloat16": (16.0, "bf16"),
    "float16": (16.0, "bf16"),
    "float32": (32.0, "bf16"),
    "float": (32.0, "bf16"),
    "half": (16.0, "bf16"),
    "float8_e4m3fn": (8.0, "fp8"),
}

ALGORITHMS = {
    "FP8": (8.0, "fp8"),
    "FP8_PER_CHANNEL_PER_TOKEN": (8.0, "fp8"),
    "FP8_PB_WO": (8.0 + 32 / 128**2, "bf16"),
    "FP8_PB_REAL": (8.0 + 32 / 128**2, "fp8"),
    "MXFP8": (8.25, "fp8"),
    "NVFP4": (4.5, "fp4"),
    "NVFP4_AWQ": (4.5, "fp4"),
    "NVFP4_SVDQUANT": (4.5, "fp4"),
    "W4A16_NVFP4": (4.5, "bf16"),
    "W4A8_NVFP4_FP8": (4.5, "fp8"),
    "MXFP4": (4.25, "fp4"),
    "W4A8_MXFP4_FP8": (4.25, "fp8"),
    "W4A16_MXFP4": (4.25, "bf16"),
    "INT8": (8.0, "int8"),
    "INT8_SQ": (8.0, "int8"),
    "W8A16": (8.0, "bf16"),
    "W4A16": (4.125, "bf16"),
    "INT4_AWQ": (4.125, "bf16"),
    "W4A16_AWQ": (4.125, "bf16"),
    "W4A8_AWQ": (4.125, "fp8"),
}
"""ModelOpt algorithm -> (bits a weight with its scales, compute format). Block scales: FP8 128x128 with
one fp32; NVFP4 one FP8 per 16; MX one E8M0 per 32; AWQ one fp16 per 128."""

Form = tuple[float, str]


@dataclass(frozen=True)
class Rule:
    """Weights matched by `targets` (None: every linear layer) are stored as `form`; None keeps the dtype."""

    form: Form | None
    targets: Patterns | None = None
    head: bool = False
    """Covers the output head without naming it."""
    routed_only: bool = False


@dataclass(frozen=True)
class Quantizer:
    """Ordered rules; the first that covers a weight decides."""

    base: Form
    rules: tuple[Rule, ...] = ()
    cache_format: str | None = None
    prefix: str = "model."

    def signature(self, layer: int) -> tuple:
        """Layers with equal signatures are stored alike."""
        return tuple(r.targets.signature(layer) for r in self.rules if r.targets is not None)

    def cast(self, w: Weight, layer: int | None, mtp: bool = False) -> Weight:
        """The weight with its stored bits and compute format, numbers as floats."""
        bits, fmt = self.form(w, layer, mtp)
        return replace(w, params=float(w.params), bits=bits, format=fmt, ways=float(w.ways))

    def form(self, w: Weight, layer: int | None, mtp: bool) -> Form:
        """(bits, compute format) of a weight."""
        if not w.matmul or w.part in ("embedding", "vision"):
            return self.base
        for rule in self.rules:
            if rule.targets is not None:
                if rule.targets.match(w.name, layer, self.prefix, mtp):
                    return rule.form or self.base
            elif w.part == "router" or (w.part == "head" and not rule.head):
                continue
            elif not rule.routed_only or w.part == "routed" or ".experts." in w.name:
                return rule.form or self.base
        return self.base


def _names(value: Any, key: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise RoutelineError(f"quantization key {key} must be a list of module names, not {shorten(value, 40)}")
    return list(value)


def _object(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RoutelineError(f"quantization key {key} must be an object, not {shorten(value, 40)}")
    return value


def _whole(value: Any, key: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RoutelineError(
            f"quantization key {key}={shorten(value, 40)} must be a whole number between {low} and {high}"
        )
    return value


def _algorithm(name: Any) -> Form:
    if not isinstance(name, str) or name.upper() not in ALGORITHMS:
        raise RoutelineError(f"quantization algorithm {shorten(name, 40)!r} is unknown; known: {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name.upper()]


def _scheme(weights: Any, activations: Any, where: str) -> Form:
    """(bits, compute format) of a compressed-tensors / modelopt group."""
    w = _object(weights, f"{where}.weights")
    bits = _whole(w.get("num_bits"), f"{where}.weights.num_bits", 2, 16)
    kind = w.get("type", "int")
    size = w.get("group_size")
    block = w.get("block_structure")
    if kind not in ("int", "float"):
        raise RoutelineError(f"quantization key {where}.weights.type={shorten(kind, 40)} must be int or float")
    if kind == "float" and bits not in (4, 8, 16):
        raise RoutelineError(f"quantization key {where}.weights.num_bits={bits} is unknown for floats; known: 4, 8, 16")
    scales = 0.0
    if isinstance(block, Sequence) and not isinstance(block, str) and len(block) == 2:
        scales = 32.0 / (_whole(block[0], where, 1, 1 << 20) * _whole(block[1], where, 1, 1 << 20))
    elif size is not None and size != -1:
        scales = (8.0 if kind == "float" else 16.0) / _whole(size, f"{where}.weights.group_size", 1, 1 << 20)
        if kind == "int" and w.get("symmetric") is False:
            scales += bits / size
    compute = {("float", 4): "fp4", ("float", 8): "fp8", ("int", 8): "int8", ("int", 4): "int4"}.get(
        (kind, bits), "bf16"
    )
    if activations is None:
        return bits + scales, "bf16"
    a = _object(activations, f"{where}.input_activations")
    a_bits = _whole(a.get("num_bits"), f"{where}.input_activations.num_bits", 2, 16)
    if a_bits > bits:
        compute = {("float", 8): "fp8", ("int", 8): "int8"}.get((a.get("type", "int"), a_bits), "bf16")
    return bits + scales, compute


def _grouped(q: Mapping[str, Any], *, explicit_algo: Form | None) -> list[Rule]:
    """config_groups with targets; a group for 'Linear' covers every linear layer."""
    rules = []
    groups = _object(q.get("config_groups") or {}, "config_groups")
    for name, group in groups.items():
        g = _object(group, f"config_groups.{shorten(name, 30)}")
        form = _scheme(g.get("weights"), g.get("input_activations"), f"config_groups.{shorten(name, 30)}")
        targets = _names(g.get("targets", ["Linear"]), "targets")
        wide = any(t in ("Linear", "*") for t in targets)
        named = [t for t in targets if t not in ("Linear", "*")]
        if named:
            rules.append(Rule(form, Patterns(named)))
        if wide:
            rules.append(Rule(form, head=True))
    if not rules and explicit_algo is not None:
        rules.append(Rule(explicit_algo, head=True))
    return rules


def _layers_named(q: Mapping[str, Any]) -> list[Rule]:
    """ModelOpt quantized_layers: module -> {quant_algo}."""
    by_form: dict[Form, list[str]] = {}
    for module, how in _object(q.get("quantized_layers") or {}, "quantized_layers").items():
        form = _algorithm(_object(how, "quantized_layers").get("quant_algo"))
        by_form.setdefault(form, []).append(module)
    return [Rule(form, Patterns(modules)) for form, modules in by_form.items()]


def _modelopt(q: Mapping[str, Any], ignore_key: str) -> list[Rule]:
    keep = Rule(None, Patterns(_names(q.get(ignore_key), ignore_key)))
    named = _layers_named(q)
    algo = q.get("quant_algo")
    if named or (isinstance(algo, str) and algo.upper() == "MIXED_PRECISION"):
        if not named:
            raise RoutelineError(
                "quant_algo MIXED_PRECISION without quantized_layers names no layer; give the side file"
            )
        return [*named, keep]
    form = None if algo is None else _algorithm(algo)
    if form is None and not q.get("config_groups"):
        raise RoutelineError("quantization config names neither quant_algo nor config_groups; give one of them")
    if form is not None:
        return [keep, Rule(form)]
    return [keep, *_grouped(q, explicit_algo=None)]


def _fp8(q: Mapping[str, Any], expert_dtype: str | None) -> list[Rule]:
    block = q.get("weight_block_size")
    bits = 8.0
    if block is not None:
        sizes = [_whole(b, "weight_block_size", 1, 1 << 20) for b in block] if isinstance(block, list) else []
        if len(sizes) != 2:
            raise RoutelineError(f"quantization key weight_block_size={shorten(block, 40)} must hold two sizes")
        bits += (8.0 if q.get("scale_fmt") == "ue8m0" else 32.0) / (sizes[0] * sizes[1])
    ignored = _names(q.get("modules_to_not_convert"), "modules_to_not_convert")
    ignored += _names(q.get("ignored_layers"), "ignored_layers")
    rules = _layers_named(q)
    rules.append(Rule(None, Patterns(ignored)))
    if expert_dtype is not None:
        if expert_dtype not in ("fp4", "fp8", "bf16"):
            raise RoutelineError(
                f"config key expert_dtype={shorten(expert_dtype, 40)} is unknown; known: fp4, fp8, bf16"
            )
        if expert_dtype == "fp4":
            rules.append(Rule((4.25, "fp8"), routed_only=True))
        elif expert_dtype == "bf16":
            rules.append(Rule(None, routed_only=True))
    rules.append(Rule((bits, "fp8")))
    return rules


def _integer(q: Mapping[str, Any], method: str) -> list[Rule]:
    bits = _whole(q.get("bits", q.get("w_bit", 4)), "bits", 2, 8)
    size = q.get("group_size", q.get("q_group_size", 128))
    if isinstance(size, int) and not isinstance(size, bool) and size == -1:
        scales = 0.0
    else:
        scales = (16.0 + bits) / _whole(size, "group_size", 1, 1 << 20)
    ignored = _names(q.get("modules_to_not_convert"), "modules_to_not_convert")
    return [Rule(None, Patterns(ignored)), Rule((bits + scales, "bf16"), head=q.get("lm_head") is True)]


def _bitsandbytes(q: Mapping[str, Any]) -> list[Rule]:
    ignored = _names(q.get("llm_int8_skip_modules"), "llm_int8_skip_modules")
    if q.get("load_in_4bit") or q.get("_load_in_4bit"):
        form = (4.0 + (8.0 / 64 + 32.0 / 64 / 256 if q.get("bnb_4bit_use_double_quant") else 32.0 / 64), "bf16")
    elif q.get("load_in_8bit") or q.get("_load_in_8bit"):
        form = (8.0, "int8")
    else:
        raise RoutelineError("bitsandbytes quantization names neither load_in_4bit nor load_in_8bit")
    return [Rule(None, Patterns(ignored)), Rule(form)]


def _bitnet(q: Mapping[str, Any]) -> list[Rule]:
    """Ternary weights packed four to a byte, multiplied with int8 activations."""
    mode = q.get("quantization_mode", "offline")
    if mode != "offline":
        raise RoutelineError(f"quantization key quantization_mode={shorten(mode, 40)} is unknown; known: offline")
    ignored = _names(q.get("modules_to_not_convert"), "modules_to_not_convert")
    return [Rule(None, Patterns(ignored)), Rule((2.0, "int8"))]


def _cache(value: Any) -> str | None:
    """Cache format from kv_cache_scheme or kv_cache_quant_algo."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        kind = (str(value.get("type", "int")), str(value.get("num_bits")))
        known = {("float", "8"): "fp8", ("int", "8"): "int8", ("float", "4"): "nvfp4"}
        if kind in known:
            return known[kind]
    elif isinstance(value, str):
        text = value.lower().replace("kv_", "")
        if text in ("static", "fp8", "fp8_e4m3", "float8_e4m3fn", "fp8_cast", "fp8_affine"):
            return "fp8"
        if text in ("none", "auto", "null"):
            return None
        if text in FORMATS:
            return text
    raise RoutelineError(f"cache quantization {shorten(value, 60)} is unknown; known: FP8, INT8, NVFP4 or none")


def dtype(r: Reader) -> Form:
    """(bits, compute format) of weights that no rule quantizes, from torch_dtype or dtype."""
    value = r.text("torch_dtype", "dtype", default="bfloat16").removeprefix("torch.")
    if value not in DTYPES:
        raise RoutelineError(f"config key torch_dtype={shorten(value, 40)} is unknown; known: {', '.join(DTYPES)}")
    return DTYPES[value]


def quantizer(r: Reader, q: Any, side: Any, *, prefix: str, expert_dtype: str | None = None) -> Quantizer:
    """Rules from quantization_config `q` and the side file `side` (either may be None).

    Raises:
        RoutelineError: an unknown method, algorithm or malformed entry, by name.
    """
    base = dtype(r)
    cache = None
    rules: list[Rule] = []
    if side is not None:
        outer = _object(side, "hf_quant_config")
        s = _object(outer.get("quantization", outer), "quantization")
        cache = _cache(s.get("kv_cache_quant_algo"))
    else:
        s = None
    if q is not None and _object(q, "quantization_config"):
        cache = _cache(q.get("kv_cache_scheme", q.get("kv_cache_quant_algo"))) or cache
        rules = _method(q, expert_dtype)
    elif s is not None and s.get("quant_algo") is not None:
        rules = _modelopt(s, "exclude_modules")
        if not s.get("exclude_modules") and not s.get("quantized_layers"):
            r.warn(
                "the quantization file excludes no module: every linear layer but head and routers is counted as "
                "quantized; if the file is abridged, stored bytes are a lower bound"
            )
    elif expert_dtype == "fp4":
        rules = [Rule((4.25, "fp8"), routed_only=True)]
    return Quantizer(base, tuple(rules), cache, prefix)


def _method(q: Mapping[str, Any], expert_dtype: str | None) -> list[Rule]:
    method = q.get("quant_method")
    if method is None and (q.get("quant_algo") or q.get("config_groups")):
        method = "modelopt"
    name = method.lower().replace("_", "-") if isinstance(method, str) else method
    if name in ("fp8", "fbgemm-fp8"):
        return _fp8(q, expert_dtype)
    if name in ("modelopt", "modelopt-fp4"):
        return _modelopt(q, "ignore" if q.get("ignore") is not None else "exclude_modules")
    if name in ("compressed-tensors", "compressed_tensors"):
        return [Rule(None, Patterns(_names(q.get("ignore"), "ignore"))), *_grouped(q, explicit_algo=None)]
    if name == "mxfp4":
        ignored = Patterns(_names(q.get("modules_to_not_convert"), "modules_to_not_convert"))
        return [Rule(None, ignored), Rule((4.25, "fp4"), routed_only=True)]
    if name in ("gptq", "awq"):
        return _integer(q, name)
    if name == "bitsandbytes":
        return _bitsandbytes(q)
    if name == "bitnet":
        return _bitnet(q)
    known = "fp8, modelopt, compressed-tensors, mxfp4, gptq, awq, bitsandbytes, bitnet"
    raise RoutelineError(
        f"quantization method {shorten(method, 40)!r} is unknown; known: {known}; remove quantization_config to count "
        "the unquantized weights"
    )
