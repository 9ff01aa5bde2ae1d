# SPDX-License-Identifier: Apache-2.0
"""What the extension needs of tensors: torch's where it is installed, else numpy's arrays. Imported by the first call with one."""

try:
    import torch
except ImportError:
    torch = None
try:
    import numpy
except ImportError:
    numpy = None

# In the order of the stored numbers. Those that are missing from an older torch, or from numpy, are None.
NAMES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool", "float16", "bfloat16",
         "float8_e4m3fn", "float8_e5m2")
SIZES = (4, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1, 2, 2, 1, 1)


def _numpy_types():
    if numpy is None:
        return (None,) * len(NAMES)
    types = [numpy.dtype(name) for name in NAMES[:12]]
    try:
        import ml_dtypes
    except ImportError:
        return (*types, None, None, None)
    return (*types, *(numpy.dtype(getattr(ml_dtypes, name)) for name in NAMES[12:]))


TORCH = tuple(getattr(torch, name, None) for name in NAMES) if torch else ()
NUMPY = _numpy_types()
TENSOR = torch.Tensor if torch else None
ARRAY = numpy.ndarray if numpy else None
to_dlpack = torch.utils.dlpack.to_dlpack if torch else None
# Its wrapper in Python takes longer than this does.
from_dlpack = getattr(torch._C, "_from_dlpack", torch.utils.dlpack.from_dlpack) if torch else None
NUMBER = {t: i for types in (TORCH, NUMPY) for i, t in enumerate(types) if t is not None}


def _dlpack_types():
    """A bit for each number of a type that this torch gives and takes through DLPack."""
    bits = 0
    for i, kind in enumerate(TORCH):
        try:
            bits |= (kind is not None and from_dlpack(to_dlpack(torch.empty(1, dtype=kind))).dtype is kind) << i
        except Exception:  # not in this torch
            continue
    return bits


DLPACK = _dlpack_types()


def describe(t):
    """(type's number, shape, address, what keeps the memory) of a tensor on the host and contiguous, else of a copy that is; None: no tensor."""
    if numpy is not None and isinstance(t, numpy.ndarray):
        t = numpy.ascontiguousarray(t) if t.ndim else t
        number = NUMBER.get(t.dtype)
        return None if number is None else (number, t.shape, t.ctypes.data, t)
    if torch is None or not isinstance(t, torch.Tensor):
        return _describe_like(t) if "Tensor" in type(t).__name__ else None
    number = NUMBER.get(t.dtype)
    if number is None or t.layout is not torch.strided:
        return None
    if t.is_neg():
        t = t.resolve_neg()
    if t.device.type != "cpu":
        t = t.cpu()
    t = t.detach().contiguous()
    return number, tuple(t.shape), t.data_ptr(), t


def _describe_like(t):
    """The same of what is no tensor of torch but used like one: callers know such by the name of its class."""
    name = str(t.dtype).rpartition(".")[2]
    if name not in NAMES:
        return None
    if getattr(getattr(t, "device", None), "type", "cpu") != "cpu":
        t = t.cpu()
    t = t.contiguous()
    shape, count = tuple(t.shape), 1
    for n in shape:
        count *= n
    number = NAMES.index(name)
    if (t.numel(), t.element_size()) != (count, SIZES[number]):
        return None
    return number, shape, t.data_ptr(), t


def view(memory, offset, number, shape):
    """A tensor over bytes of @memory, which it keeps alive."""
    count = 1
    for n in shape:
        count *= n
    kind = TORCH[number] if torch else None
    if kind is not None:
        if not count:
            return torch.empty(shape, dtype=kind)
        return torch.frombuffer(memory, dtype=kind, count=count, offset=offset).reshape(shape)
    if torch or NUMPY[number] is None:
        raise TypeError(f"this installation has no {NAMES[number]}")
    return numpy.ndarray(shape, NUMPY[number], memory, offset)


def _failed(what, why):
    """What went wrong with a file is told like any warning, and the call answers with a code."""
    import warnings
    warnings.warn(f"{what}(): {why}", RuntimeWarning, stacklevel=3)


def save(store, key, file_name):
    """The code of save_tensor_to_safetensor()."""
    tensor = store.get_tensor(key)
    if tensor is None:
        return -1100
    name = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else key
    try:
        if torch:
            from safetensors.torch import save_file
        else:
            from safetensors.numpy import save_file
        save_file({name: tensor}, name if file_name is None else file_name)
    except Exception as e:
        _failed("save_tensor_to_safetensor", e)
        return -600
    return 0


def load(store, key, file_name):
    """The tensor of load_tensor_from_safetensor(), stored too; None when it cannot be had."""
    try:
        if torch:
            from safetensors.torch import load_file
        else:
            from safetensors.numpy import load_file
        tensors = load_file(file_name)
    except Exception as e:
        _failed("load_tensor_from_safetensor", e)
        return None
    if not tensors:
        return None
    name = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else key
    if name is not None and name not in tensors:
        import warnings
        warnings.warn(f"{file_name} has no {name!r}; its first tensor is taken", stacklevel=2)
        name = None
    tensor = tensors[name] if name is not None else next(iter(tensors.values()))
    return tensor if not store.put_tensor(file_name if key is None else key, tensor) else None
