"""Weights in safetensors files: bit for bit there and back, also by way of PyTorch; damage raises FileError alone."""

import json
import random
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.extra import numpy as hnp

from cases import WITH_TWIN
from scratchnn import BatchNorm2d, Conv2d, FileError, Flatten, Linear, ReLU, Sequential
from scratchnn.layer import Array, Layer
from scratchnn.weights import DTYPES, load_weights, parse_tensors, read_tensors, save_weights, write_tensors
from setups import Case, Setup

NUMPY = {"F": "float", "I": "int", "U": "uint"}
DTYPE_NAMES = ["bool" if name == "BOOL" else NUMPY[name[0]] + name[1:] for name in sorted(DTYPES)]


def network(seed: int = 0) -> Layer:
    rng = np.random.default_rng(seed)
    norm = BatchNorm2d(3)
    norm.running_mean.data[:] = rng.standard_normal(3)
    return Sequential(Conv2d(2, 3, 3, rng=rng), norm, ReLU(), Flatten(), Linear(3 * 4, 5, rng=rng))


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def test_a_network_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved, loaded = network(0), network(1)
    save_weights(saved, tmp_path / "new" / "net.safetensors")
    arrays = loaded.state_dict()
    load_weights(loaded, str(tmp_path / "new" / "net.safetensors"))
    assert_same(loaded.state_dict(), saved.state_dict())
    assert all(loaded.state_dict()[name] is array for name, array in arrays.items())  # written in place
    x = np.random.default_rng(2).standard_normal((2, 2, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(loaded.forward(x)[0], saved.forward(x)[0])


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(lambda name: name != "__metadata__"),
        st.sampled_from(DTYPE_NAMES).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
        ),
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
)
def test_any_arrays_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Array], metadata: dict[str, str]
) -> None:
    metadata = {key: value for key, value in metadata.items() if (key + value).isascii()}
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    write_tensors(path, tensors, metadata)
    found, described = read_tensors(path)
    assert_same(found, tensors)
    assert described == metadata
    assert all(array.flags.writeable for array in found.values())


def test_memory_order_and_byte_order_do_not_matter(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    given_in = {"transposed": x.T, "strided": x[:, ::2, ::-1], "big": x.astype(">f4"), "fortran": np.asfortranarray(x)}
    write_tensors(tmp_path / "x", given_in)
    found, _ = read_tensors(tmp_path / "x")
    for name, array in given_in.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("dtype", ["complex128", "longdouble", "U3"])
def test_what_the_format_does_not_hold_is_refused(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.zeros(1)})
    with pytest.raises(FileError, match=r"x\.safetensors cannot be written as safetensors, nothing there was changed"):
        write_tensors(path, {"a": np.zeros(2, dtype)})
    assert_same(read_tensors(path)[0], {"a": np.zeros(1)})


def test_strictness(tmp_path: Path) -> None:
    path, net = tmp_path / "net.safetensors", network(1)
    whole = network(0).state_dict()
    lacking = {name: array for name, array in whole.items() if name != "4.bias"}
    before = {name: array.copy() for name, array in net.state_dict().items()}
    for state, problem in [
        (lacking, "4.bias is missing"),
        ({**whole, "9.weight": np.zeros(1)}, "9.weight is not of this layer"),
        ({**whole, "4.bias": np.zeros(6, np.float32)}, r"4.bias is float32\[6\], float32\[5\] is expected"),
        ({**whole, "4.bias": np.zeros(5)}, r"4.bias is float64\[5\], float32\[5\] is expected"),
    ]:
        write_tensors(path, state)
        with pytest.raises(FileError, match=rf"net\.safetensors: .*{problem}"):
            load_weights(net, path)
        assert_same(net.state_dict(), before)  # all or nothing
    write_tensors(path, {**lacking, "9.weight": np.zeros(1)})
    load_weights(net, path, strict=False)
    assert_same(net.state_dict(), {**whole, "4.bias": before["4.bias"]})


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_file_that_cannot_be_read(place: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read: "):
        load_weights(network(), tmp_path / place)


def test_every_cut_is_found(tmp_path: Path) -> None:
    save_weights(network(), tmp_path / "net")
    content = (tmp_path / "net").read_bytes()
    for size in range(len(content)):
        with pytest.raises(FileError, match="net"):
            parse_tensors(content[:size], "net")
    with pytest.raises(FileError, match="net"):
        parse_tensors(content + b"\0", "net")


def harmless(content: bytes) -> None:
    """Arrays and metadata, or FileError, and nothing else."""
    try:
        tensors, metadata = parse_tensors(content, "net")
    except FileError as error:
        assert str(error).startswith("net")
    else:
        assert all(isinstance(array, np.ndarray) for array in tensors.values())
        assert all(isinstance(text, str) for text in metadata.values())


@settings(max_examples=200)
@given(st.data())
def test_flipped_bits_and_changed_bytes(data: st.DataObject) -> None:
    header = {"__metadata__": {"a": "b"}, "x": entry(), "y": entry("I64", (2, 1), (4, 20))}
    content = bytearray(safetensors(header, bytes(20)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    harmless(bytes(content))


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*sorted(DTYPES), "BF16", "x"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "x", "y"]), inner, max_size=4
            )
        ),
    ),
    st.binary(max_size=8),
)
def test_any_header(header: Any, data: bytes) -> None:
    harmless(safetensors(header, data))


@given(st.binary(max_size=80))
def test_any_bytes(content: bytes) -> None:
    harmless(content)


BOMB = 100_000
HOSTILE = {
    "empty": b"",
    "seven bytes": bytes(7),
    "no header": bytes(8),
    "header longer than the file": (1 << 62).to_bytes(8, "little") + b"{}",
    "header of all bytes": b"\xff" * 64,
    "no JSON": safetensors(b"{]"),
    "no UTF-8": safetensors(b'{"\xff": 1}'),
    "UTF-16": safetensors('{"x": 1}'.encode("utf-16")),
    "a list": safetensors([]),
    "a number": safetensors(b"1"),
    "BF16": safetensors({"x": entry("BF16", (2,))}, bytes(4)),
    "F8": safetensors({"x": entry("F8_E4M3", (4,))}, bytes(4)),
    "C64": safetensors({"x": entry("C64", (1,), (0, 8))}, bytes(8)),
    "unknown dtype": safetensors({"x": entry("F31")}, bytes(4)),
    "a list as dtype": safetensors({"x": entry([])}, bytes(4)),
    "no dtype": safetensors({"x": {}}),
    "null as entry": safetensors({"x": None}),
    "missing shape": safetensors({"x": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)),
    "negative shape": safetensors({"x": entry(shape=(-1,))}, bytes(4)),
    "shape too large": safetensors({"x": entry(shape=(1 << 62, 4))}, bytes(4)),
    "shape of zero and too large": safetensors({"x": entry(shape=(0, 1 << 62), offsets=(0, 0))}),
    "100 axes": safetensors({"x": entry(shape=(1,) * 100)}, bytes(4)),
    "shape and bytes disagree": safetensors({"x": entry(shape=(2,))}, bytes(4)),
    "offsets beyond the end": safetensors({"x": entry(shape=(2,), offsets=(0, 8))}, bytes(4)),
    "offsets in reverse": safetensors({"x": entry(offsets=(4, 0))}, bytes(4)),
    "overlapping": safetensors({"x": entry(), "y": entry()}, bytes(4)),
    "a gap": safetensors({"x": entry(offsets=(4, 8))}, bytes(8)),
    "bytes of nobody": safetensors({}, bytes(4)),
    "metadata of a number": safetensors({"__metadata__": {"a": 1}}),
    "metadata in a list": safetensors({"__metadata__": ["a"]}),
    "nested lists": safetensors(b"[" * BOMB),
    "nested objects": safetensors(b'{"x":' * BOMB),
    "nested and closed": safetensors(b'{"x":' + b"[" * BOMB + b"]" * BOMB + b"}"),
    "a number of many digits": safetensors(b'{"x":' + b"9" * BOMB + b"}"),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins",
    "zip": b"PK\x03\x04" + bytes(60),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[kind])
    net = network()
    before = {name: array.copy() for name, array in net.state_dict().items()}
    with pytest.raises(FileError, match=r"hostile\.safetensors"):
        load_weights(net, path)
    assert_same(net.state_dict(), before)


@pytest.mark.parametrize(
    "header",
    [
        '{"x": ENTRY, "x": ENTRY}',
        '{"x": ENTRY, "\\u0078": ENTRY}',
        '{"x": {"dtype": "F32", "dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}',
        '{"__metadata__": {"a": "b", "a": "c"}, "x": ENTRY}',
    ],
)
def test_a_key_that_comes_twice_is_refused(header: str) -> None:
    content = safetensors(header.replace("ENTRY", json.dumps(entry())).encode(), bytes(4))
    with pytest.raises(FileError, match="net: the header at offset 8 names a key twice"):
        parse_tensors(content, "net")


def test_the_error_names_the_dtype_and_what_is_expected() -> None:
    with pytest.raises(FileError, match=r"net: tensor 'x' has dtype 'BF16'; one of BOOL, F16, .* is expected"):
        parse_tensors(HOSTILE["BF16"], "net")


def peak(content: bytes) -> int:
    """The most memory that reading takes, in bytes."""
    tracemalloc.start()
    try:
        harmless(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_size_of_the_file() -> None:
    write = random.Random(0).randbytes(1 << 20)
    honest = safetensors({"x": entry("U8", (1 << 20,), (0, 1 << 20))}, write)
    assert peak(honest) < 4 * len(honest)
    for kind, content in HOSTILE.items():
        assert peak(content) < 1_000_000 + 50 * len(content), kind


def test_a_header_above_the_format_s_limit_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    from scratchnn import weights

    monkeypatch.setattr(weights, "HEADER_LIMIT", 1000)
    parse_tensors(safetensors(b"{}" + b" " * 998), "net")
    with pytest.raises(FileError, match="a header of 1001 bytes is announced, where at most 1000 are possible"):
        parse_tensors(safetensors(b"{}" + b" " * 999), "net")


@pytest.mark.oracle
def test_pytorch_reads_what_is_written_and_writes_what_is_read(torch: ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    ours = network(0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 5)
    )
    save_weights(ours, tmp_path / "ours.safetensors")
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    x = np.random.default_rng(2).standard_normal((2, 2, 4, 4)).astype(np.float32)
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours.forward(x)[0], expected, rtol=1e-5, atol=1e-6)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    again = network(1)
    load_weights(again, tmp_path / "theirs.safetensors")
    assert_same(again.state_dict(), ours.state_dict())


def setup_with_weights(case: Case) -> Setup | None:
    """A setup of a layer that has weights; layers that may have them often have none."""
    once = settings(phases=[Phase.generate], max_examples=20, derandomize=True, database=None)
    try:
        return find(case.setups, lambda setup: bool(setup.layer().state_dict()), settings=once)
    except NoSuchExample:
        return None


WITH_WEIGHTS = {case.name: setup for case in WITH_TWIN if (setup := setup_with_weights(case))}


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_every_layer_s_weights_go_to_pytorch_and_back(torch: ModuleType, name: str, dtype: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    setup = WITH_WEIGHTS[name]
    ours, again = setup.layer(dtype), setup.layer(dtype)
    theirs = setup.part.twin(torch).to(torch.float64 if dtype is np.float64 else torch.float32)
    save_weights(ours, tmp_path / "ours.safetensors")
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    for array in again.state_dict().values():
        array[...] = 7
    load_weights(again, tmp_path / "theirs.safetensors")
    assert_same(again.state_dict(), ours.state_dict())
