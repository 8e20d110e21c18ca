"""The device catalogue: every row sourced and equal to the facts, names, clusters, users' own files."""

import csv
import math
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from routeline import device_catalog, devices
from routeline.device_file import KNOWN, read_device
from routeline.devices import (
    all_devices,
    cluster_warnings,
    describe,
    describe_links,
    device_names,
    device_warnings,
    link_classes,
    load_device,
    load_device_file,
    make_cluster,
    parse_devices,
    resolve_device,
)
from routeline.errors import RoutelineError, UnknownName
from routeline.hardware import KINDS

DATA = Path(devices.__file__).parent / "data"
NAMES = device_names()
COMPUTABLE = [name for name in NAMES if not load_device(name).footnote]

FULL = """
name = "Mine"
memory = "80 GB"
bandwidth = {value = "3.35 TB/s", kind = "measured", source = "my bench"}
link = "450 GB/s"
domain = 8
[peaks]
bf16 = "989 TFLOP/s"
"""


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_at_least_fifty_devices_and_one_file_each():
    files = {path.stem for path in (DATA / "devices").glob("*.toml")}
    assert len(NAMES) >= 50
    assert files == {device_catalog._slug(name) for name in NAMES}
    assert [device.name for device in all_devices()] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_unit_kind_and_source(name):
    device = load_device(name)
    rows = {row["name"]: row for row in describe(device)}
    assert {"memory_marketed", "bandwidth", "domain"} <= rows.keys()
    for row in rows.values():
        assert row["kind"] in KINDS
        assert row["kind"] != "given"
        assert row["source"].strip()
        assert row["unit"]
        assert math.isfinite(row["value"])
        assert row["value"] > 0
    raw = tomllib.loads((DATA / "devices" / f"{device_catalog._slug(name)}.toml").read_text())
    assert raw["notes"].strip()
    assert raw["year"] >= 2016
    assert device.vendor


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_where_accelerators_lie(name):
    """Catches slips of a prefix: GB for GiB, bits for bytes, sparse for dense."""
    device = load_device(name)
    if device.footnote:
        return
    if device.memory_usable is not None:
        assert 0.93 <= device.memory_usable / device.memory_marketed <= 2**30 / 1e9 + 1e-6
    ridge = device.peaks["bf16"] / device.bandwidth
    assert 15 < ridge < 1000, "bf16 FLOP per byte"
    for narrow in ("fp8", "fp4"):
        if narrow in device.peaks:
            assert device.peaks[narrow] >= device.peaks["bf16"]
    if device.link is not None:
        assert 1e9 < device.link < device.bandwidth
    if device.nic is not None:
        assert 1e9 < device.nic <= 4e11


@pytest.mark.parametrize(
    ("name", "fmt", "below"),
    [
        ("A100 80GB SXM", "bf16", 400e12),
        ("H100 SXM", "bf16", 1000e12),
        ("H100 SXM", "fp8", 2000e12),
        ("H100 NVL", "bf16", 900e12),
        ("L4", "bf16", 130e12),
        ("L40S", "fp8", 800e12),
        ("RTX 4090", "bf16", 170e12),
        ("B200 SXM", "fp4", 10e15),
        ("GB200 NVL72", "fp8", 5.1e15),
        ("MI300X", "bf16", 1400e12),
        ("MI355X", "fp4", 10.5e15),
        ("GB10", "fp4", 600e12),
        ("Trainium2", "bf16", 700e12),
    ],
)
def test_peaks_are_dense_not_the_sparse_headline(name, fmt, below):
    assert below / 2.1 < load_device(name).peaks[fmt] < below


@pytest.mark.parametrize("name", ["A100 80GB SXM", "A10G", "MI250X GCD", "TPU v6e", "M2 Ultra 192GB"])
def test_devices_without_fp8_have_no_fp8_peak(name):
    device = load_device(name)
    assert "fp8" not in device.peaks
    assert device.compute_format("fp8") == "bf16"


def test_catalogue_equals_the_facts(shared):
    with (shared / "facts" / "hardware.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) <= len(NAMES)
    columns = {
        "bandwidth": ("mem_bw_gbs", 1e9), "link": ("link_gbs_per_direction_per_device", 1e9),
        "nic": ("nic_gbs_per_direction_per_device", 1e9), "power": ("tdp_w", 1.0),
        "memory_usable": ("memory_usable_mib", 2.0**20), "domain": ("domain_devices", 1.0),
    }  # fmt: skip
    peaks = {
        "bf16": "bf16_dense_tflops",
        "fp8": "fp8_dense_tflops",
        "int8": "int8_dense_tops",
        "fp4": "fp4_dense_tflops",
    }
    same_chip = {"Trainium2 UltraServer", "Trainium3 Gen2"}
    binary = same_chip | {
        load_device(row["name"]).name for row in rows if re.search(r"apacity is ([0-9]+ )?GiB", row["notes"])
    }
    seen = set()
    for row in rows:
        device = load_device(row["name"].removeprefix("FOOTNOTE "))
        seen.add(device.name)
        assert device.footnote == row["name"].startswith("FOOTNOTE")
        assert device.vendor == row["vendor"]
        assert device.year == int(row["year"])
        for field, (column, scale) in columns.items():
            expected = float(row[column]) * scale if row[column] else None
            assert getattr(device, field) == expected, (device.name, field)
        for fmt, column in peaks.items():
            expected = float(row[column]) * 1e12 if row[column] else None
            assert device.peaks.get(fmt) == expected, (device.name, fmt)
        scale = 2.0**30 if device.name in binary else 1e9
        assert device.memory_marketed == float(row["memory_marketed_gb"]) * scale
        if row["kind"] == "guess":
            kinds = {r["name"]: r["kind"] for r in describe(device)}
            assert kinds["memory_marketed"] == kinds["bandwidth"] == kinds["peaks.bf16"] == "guess"
    assert len(seen) == len(rows)
    assert seen <= set(NAMES)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_and_aliases_are_unique_when_folded():
    keys = [device_catalog.fold(text) for name, aliases in device_catalog._names().items() for text in {name, *aliases}]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("H200", "H200 SXM"),
        ("h200", "H200 SXM"),
        ("H100", "H100 SXM"),
        ("h100-sxm", "H100 SXM"),
        ("H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
        ("A100", "A100 80GB SXM"),
        ("A100-80GB", "A100 80GB SXM"),
        ("A100-40GB", "A100 40GB SXM"),
        ("MI300X", "MI300X"),
        ("AMD Instinct MI300X", "MI300X"),
        ("B200", "B200 SXM"),
        ("GB200", "GB200 NVL72"),
        ("RTX-4090", "RTX 4090"),
        ("rtx_4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("L4", "L4"),
        ("L40S", "L40S"),
        ("GB10", "GB10"),
        ("DGX Spark", "GB10"),
        ("H20", "H20 96GB"),
        ("tpu v6e", "TPU v6e"),
        ("Ironwood", "TPU7x"),
        ("m4 max 32-core", "M4 Max 32-core 36GB"),
    ],
)
def test_people_type_short_forms(typed, name):
    assert load_device(typed).name == name


@pytest.mark.parametrize("typed", ["RTX PRO 6000", "M4 Max", "GH200", "TPU"])
def test_a_short_form_of_several_devices_is_refused_with_the_candidates(typed):
    with pytest.raises(RoutelineError, match=r"fits .*; write one of these names"):
        load_device(typed)


@pytest.mark.parametrize("typed", ["A12", "MI300", "H300", "B", "H", "Tesla", "gpu", "H100é"])
def test_part_of_a_word_is_not_a_name(typed):
    """A12 is not A10 and MI300 could be the MI300A: suggest, never pick."""
    with pytest.raises(UnknownName, match="unknown device"):
        load_device(typed)


def test_suggestions_are_near():
    with pytest.raises(UnknownName) as caught:
        load_device("MI30X")
    assert "MI300X" in caught.value.near


def test_an_alias_that_chooses_among_parts_says_so():
    name, notes = resolve_device("A100")
    assert name == "A100 80GB SXM"
    assert "A100 40GB SXM" in notes[0]
    assert "A100 80GB PCIe" in notes[0]
    assert resolve_device("H200")[1] == ()
    assert parse_devices("8xH100").notes


@pytest.mark.parametrize("typed", ["", "  ", None, 8, "x" * 2000])
def test_what_is_no_name_is_refused(typed):
    with pytest.raises(RoutelineError):
        load_device(typed)


# --- clusters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "count", "node"),
    [
        ("8xH200", "H200 SXM", 8, 8),
        ("8*H200", "H200 SXM", 8, 8),
        (" 8 X h200 ", "H200 SXM", 8, 8),
        ("H100", "H100 SXM", 1, 1),
        ("2x8xH100", "H100 SXM", 16, 8),
        ("16xH100", "H100 SXM", 16, 8),
        ("2x4xH100", "H100 SXM", 8, 4),
        ("72xGB200", "GB200 NVL72", 72, 72),
        ("144xGB200", "GB200 NVL72", 144, 72),
        ("8xRTX 4090", "RTX 4090", 8, 8),
        ("16xL40S", "L40S", 16, 8),
        ("8x4090", "RTX 4090", 8, 8),
        ("4xGH200 96GB", "GH200 96GB", 4, 1),
        ("2xGB10", "GB10", 2, 1),
        ("1xM2 Ultra", "M2 Ultra 192GB", 1, 1),
    ],
)
def test_clusters_as_people_type_them(text, name, count, node):
    cluster = parse_devices(text)
    assert (cluster.device.name, cluster.count, cluster.node) == (name, count, node)
    assert parse_devices(cluster.name) == cluster


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2x16xH100", "domain of 8; write 32xH100 SXM"),
        ("12xH100", "2x6xH100 SXM"),
        ("9xL40S", "8xL40S or 16xL40S"),
        ("2x9xL40S", "one server of 8"),
        ("0xH100", "at least 1"),
        ("-1xH100", "at least 1"),
        ("2x0xH100", "at least 1"),
        ("1.5xH100", "whole number"),
        ("2x2x2xH100", "more than two counts"),
        ("H100x8", "write 8xH100 SXM"),
        ("8 H200", "write 8xH200 SXM"),
        ("8x", "name no device"),
        ("8", "name no device"),
        ("99999999xH100", "between 1 and 10,000,000"),
        ("9999999999999999999999xH100", "whole number"),
        ("2xM2 Ultra", "no link between two"),
        ("Groq", "reference only"),
        ("8xCerebras", "reference only"),
        ("8xH300", "unknown device 'H300'"),
        ("8x./nowhere.toml", "no device file"),
        ("", "not understood"),
        (None, "not understood"),
    ],
)
def test_refusals_name_the_limit_and_the_remedy(text, says):
    with pytest.raises(RoutelineError) as caught:
        parse_devices(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_are_those_of_the_devices():
    eight = parse_devices("2x8xH200")
    assert (eight.link_bandwidth, eight.nic_bandwidth) == (450e9, 50e9)
    assert parse_devices("4xMI300X").link_bandwidth == 192e9, "three of seven direct links"
    assert parse_devices("8xMI300X").link_bandwidth == 448e9
    names = {row["name"]: row for row in describe_links(eight)}
    assert names["nic.bandwidth"]["source"] == load_device("H200").nic.source
    assert describe_links(parse_devices("H200")) == []


def test_an_unknown_nic_is_a_stated_guess():
    two = parse_devices("2x8xRTX 3090")
    assert two.nic_bandwidth == 50e9
    assert two.nic.bandwidth.kind == "guess"
    assert any("network of 50 GB/s" in text for text in cluster_warnings(two))
    assert not any("network" in text for text in cluster_warnings(parse_devices("8xRTX 3090")))


@pytest.mark.parametrize("name", COMPUTABLE)
def test_every_device_makes_clusters_with_known_classes(name):
    device = load_device(name)
    assert make_cluster(device, 1).count == 1
    if device.link is not None:
        assert device.link_class in link_classes()
        two = make_cluster(device, 2)
        assert two.nic_bandwidth > 0
        if two.node == 2:
            assert two.link_bandwidth > 0


def test_start_up_times_are_ordered_and_sourced():
    """The floor lies below every typical start-up, and below the least collectives measured (7.0 us and 7.2 us)."""
    for section in link_classes():
        values = {key: devices._constant(section, key, "s") for key in ("hop", "all_reduce", "dispatch", "combine")}
        assert 0 < values["hop"] < min(values["all_reduce"], values["dispatch"], values["combine"])
        assert values["hop"] < 7.0e-6 / 2
        for value in values.values():
            assert value.kind in KINDS
            assert value.source.strip()


def test_deepep_start_up_follows_from_the_quoted_times():
    dispatch = 194e-6 - 128 * 7168 * 8 / 50e9
    combine = 360e-6 - 128 * 7168 * 8 * 2 / 50e9
    assert devices._constant("nic", "dispatch", "s") == pytest.approx(dispatch, rel=0.02)
    assert devices._constant("nic", "combine", "s") == pytest.approx(combine, rel=0.02)


def test_warnings_follow_the_basis():
    no_reading, known = load_device("MI325X"), load_device("H200")
    assert any("marketed size is used" in text for text in device_warnings(no_reading, "usable"))
    assert not any("marketed size" in text for text in device_warnings(no_reading, "marketed"))
    assert device_warnings(known) == []
    assert any("guessed" in text for text in device_warnings(load_device("H20 141GB")))
    assert any("two devices" in text for text in device_warnings(load_device("MI250X OAM")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("8xGaudi2", "link of 262.5 GB/s is a guess"),
        ("4xMI210", "link domain of 4 devices is a guess"),
        ("8xTPU v6e", "torus"),
        ("8xL40S", "share one PCIe server"),
        ("2x8xMI300X", "network of 50 GB/s"),
    ],
)
def test_what_the_links_rest_on_is_said_only_where_it_is_used(text, says):
    assert any(says in warning for warning in cluster_warnings(parse_devices(text)))
    single = make_cluster(parse_devices(text).device, 1)
    assert not any(says in warning for warning in cluster_warnings(single))


# --- users' own devices ----------------------------------------------------------------------------------------------


def test_a_users_file_describes_a_device(tmp_path):
    path = tmp_path / "mydevice.toml"
    path.write_text(FULL)
    cluster = parse_devices(f"8x{path}")
    device = cluster.device
    assert (device.name, cluster.count, cluster.link_bandwidth) == ("Mine", 8, 450e9)
    assert device.memory("usable") == device.memory("marketed") == 80e9
    assert (device.bandwidth.kind, device.bandwidth.source) == ("measured", "my bench")
    assert (device.peaks["bf16"].kind, str(path)) == ("given", device.peaks["bf16"].source)
    assert device_warnings(device) == []
    assert any("network" in text for text in cluster_warnings(parse_devices(f"2x8x{path}")))


def test_a_users_file_needs_few_keys():
    device = read_device('memory="24 GiB"\nbandwidth="1 TB/s"\n[peaks]\nbf16="70 TFLOP/s"', "f", "stem")
    assert (device.name, device.memory_marketed, device.domain) == ("stem", 24 * 2**30, 1)
    assert make_cluster(device, 4).node == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('memory = "80 GB"', "memory = 80"), "no unit"),
        (('memory = "80 GB"', 'memory = "80"'), "no unit"),
        (('memory = "80 GB"', ""), "missing memory"),
        (('memory = "80 GB"', 'memory = "80 GB/s"'), "unknown unit"),
        (('memory = "80 GB"', 'memory = "-80 GB"'), "positive"),
        (('memory = "80 GB"', 'memory = "80 GB"\nmemory_usable = "79 GB"'), "not both"),
        (('memory = "80 GB"', 'memory = {value = "80 GB", unit = "GB"}'), "unknown part 'unit'"),
        (('memory = "80 GB"', 'memory = {kind = "given"}'), "lacks value"),
        (('memory = "80 GB"', 'memory = {value = "80 GB", kind = "sure"}'), "unknown kind 'sure'"),
        (('memory = "80 GB"', 'memmory = "80 GB"'), "did you mean memory"),
        (('memory = "80 GB"', 'vram = "80 GB"'), "did you mean memory"),
        (("domain = 8", 'domain = "many"'), "number of devices"),
        (("domain = 8", "domain = 0"), "domain"),
        (("domain = 8", ""), "link needs domain"),
        (("domain = 8", 'domain = 8\nbf16_sparse = "2 PFLOP/s"'), "dense"),
        (("domain = 8", 'domain = 8\ntdp = "700 W"'), "did you mean power"),
        (("domain = 8", 'domain = 8\nzzz = "700 W"'), "known: "),
        (("domain = 8", 'domain = 8\ntopology = "star"'), "unknown topology"),
        (("domain = 8", "domain = 8\nyear = 'now'"), "not a year"),
        (('link = "450 GB/s"', ""), "needs link"),
        (('bf16 = "989 TFLOP/s"', ""), "dense rate under [peaks]"),
        (('bf16 = "989 TFLOP/s"', 'sparse = "2 PFLOP/s"'), "dense"),
        (('bf16 = "989 TFLOP/s"', 'fp7 = "989 TFLOP/s"'), "unknown compute format"),
        (('[peaks]\nbf16 = "989 TFLOP/s"', 'bf16 = "989 TFLOP/s"'), "under [peaks]"),
        (("name", "=name"), "not TOML"),
    ],
)
def test_slips_in_a_users_file_are_named(change, says):
    text = FULL.replace(*change, 1)
    assert text != FULL
    with pytest.raises(RoutelineError) as caught:
        read_device(text, "mine.toml")
    assert says in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_catalogue_files_must_state_kind_and_source():
    with pytest.raises(RoutelineError, match="needs value, kind and source"):
        read_device(FULL, "f", given=False)
    with pytest.raises(RoutelineError, match="lacks kind, source"):
        read_device('bandwidth = {value = "1 TB/s"}', "f", given=False)


def test_files_that_are_no_device_files_are_refused(tmp_path):
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    large = tmp_path / "large.toml"
    large.write_text("#" * (device_catalog.MAX_FILE_BYTES + 1))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 20000)
    slow = tmp_path / "slow.toml"
    slow.write_text(f'memory = "{"1" * 60000}"')
    for path in (folder, large, binary, deep, slow, tmp_path / "none.toml", "\0.toml", "a" * 300 + ".toml"):
        with pytest.raises(RoutelineError):
            load_device_file(path)


# --- any text: an answer or a refusal --------------------------------------------------------------------------------

_pieces = st.sampled_from(
    [*NAMES, "H100", "4090", "x", "X", "*", "8", "2", "0", "-1", "1e9", " ", ".", "/", "gb", "é", "\n"]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(_pieces, max_size=6).map("".join), st.text(max_size=30)))
@example("8x8x8")
@example("4090x4090")
@example("2xx2xH100")
@example("\u0662xH100")
def test_any_text_is_a_cluster_or_a_refusal(text):
    refused, cluster = "", None
    try:
        cluster = parse_devices(text)
    except RoutelineError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        return
    assert cluster.count % cluster.node == 0
    assert cluster.count >= 1
    assert parse_devices(cluster.name) == cluster


_values = st.one_of(
    st.sampled_from(
        ['"80 GB"', '"8 devices"', '"1 TB/s"', '"0 GB"', '"nan GB"', "8", "-1", "1e400", "nan", "true", "[]", "{}"]
    ),
    st.sampled_from(['{value = "80 GB"}', '{value = 1, kind = "guess"}', "1979-05-27", '""', '"x"', "{value = {}}"]),
    st.text(max_size=12).map(lambda text: f'"{text}"'),
)
_lines = st.tuples(st.sampled_from([*KNOWN, "sparse", "bf16", "zz"]), _values).map(" = ".join)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_lines, max_size=4), st.sets(st.integers(0, 7)), st.booleans())
def test_any_users_file_is_a_device_or_a_refusal(extra, dropped, first):
    kept = [line for i, line in enumerate(FULL.strip().splitlines()) if i not in dropped]
    text = "\n".join([*extra, *kept] if first else [*kept, *extra])
    refused, device = "", None
    try:
        device = read_device(text, "f")
    except RoutelineError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        return
    assert all(math.isfinite(row["value"]) and row["value"] > 0 for row in describe(device))
    assert make_cluster(device, 1).count == 1 or device.footnote


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_as_a_users_file_is_refused_in_one_line(text):
    with pytest.raises(RoutelineError) as caught:
        read_device(text, "f")
    assert "\n" not in str(caught.value)


# --- the documentation -----------------------------------------------------------------------------------------------


def test_the_documented_examples_work():
    text = (Path(__file__).parents[1] / "docs" / "devices.md").read_text()
    device = read_device(text.split("```toml\n")[1].split("```")[0], "docs/devices.md")
    assert (device.name, device.nic, device.domain) == ("My accelerator", 50e9, 8)
    assert make_cluster(device, 16).node == 8
    names, clusters = text.split("| typed | read as |")[1], text.split("| typed | means |")[1]
    for row in re.findall(r"^\| (`.*`) \| (.*?)(?: \(.*)? \|$", names.split("\n\n")[0], re.MULTILINE):
        assert {load_device(typed).name for typed in re.findall(r"`(.*?)`", row[0])} == {row[1]}
    for typed in re.findall(
        r"`([^`]*?)`", "".join(re.findall(r"^\| `.*?` \|", clusters.split("\n\n")[0], re.MULTILINE))
    ):
        assert typed.endswith(".toml") or parse_devices(typed).count >= 1
    for typed in re.findall(r"`([^`]*)`", text.split("refused with the candidates:")[1].split(". All")[0]):
        with pytest.raises(RoutelineError, match="write one of these"):
            load_device(typed)
