//! The globals that a pickle may name. None of them is ever looked up or called in Python: each stands for a kind of
//! plain data.

use crate::weights::refusal::{Refusal, shorten};
use crate::weights::value::Dtype;

/// An element type of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: &'static str,
    /// Size in bytes.
    pub(crate) size: usize,
    /// None for a type that can be skipped but not read.
    pub(crate) dtype: Option<Dtype>,
}

/// The meaning of an allowed global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `OrderedDict` and the like.
    Mapping(&'static str),
    Size,
    Parameter,
    /// A storage class and its element type.
    Storage(&'static Element),
    Dtype(&'static Element),
    RebuildTensor,
    RebuildTensorV2,
    RebuildTensorV3,
    RebuildParameter,
    RebuildParameterWithState,
    RebuildFromType,
    /// Text encoded to bytes.
    Encode,
    NumpyType,
    /// An array that BUILD fills.
    NumpyReconstruct,
    /// An array over a buffer of bytes.
    NumpyFromBuffer,
    /// A class or function whose instances or results are kept by name only.
    Opaque(&'static str),
}

impl Global {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mapping(name) | Self::Opaque(name) => name,
            Self::Size => "torch.Size",
            Self::Parameter => "torch.nn.parameter.Parameter",
            Self::Storage(_) => "a storage class of torch",
            Self::Dtype(element) => element.name,
            Self::Encode => "_codecs.encode",
            Self::NumpyType => "numpy.dtype",
            Self::NumpyReconstruct => "numpy._core.multiarray._reconstruct",
            Self::NumpyFromBuffer => "numpy._core.numeric._frombuffer",
            Self::RebuildTensor => "torch._utils._rebuild_tensor",
            Self::RebuildTensorV2 => "torch._utils._rebuild_tensor_v2",
            Self::RebuildTensorV3 => "torch._utils._rebuild_tensor_v3",
            Self::RebuildParameter => "torch._utils._rebuild_parameter",
            Self::RebuildParameterWithState => "torch._utils._rebuild_parameter_with_state",
            Self::RebuildFromType => "torch._tensor._rebuild_from_type_v2",
        }
    }

    /// # Errors
    /// Every global that is not in the tables, with its name.
    pub(super) fn find(module: &str, name: &str) -> Result<Self, Refusal> {
        let found = match module {
            "torch" | "torch.cuda" | "torch.storage" => element_global(module, name),
            _ => None,
        };
        let listed = || {
            let allowed = ALLOWED.iter().find(|(of, called, _)| *of == module && *called == name);
            allowed.map(|(_, _, global)| *global)
        };
        found.or_else(listed).ok_or_else(|| {
            Refusal::new(
                "tensors and plain data only (as in `torch.save(model.state_dict(), path)`)",
                format!(
                    "a pickle that names `{}.{}`, which may run code",
                    shorten(module).escape_debug(),
                    shorten(name).escape_debug()
                ),
            )
        })
    }
}

fn element_global(module: &str, name: &str) -> Option<Global> {
    let by = |wanted: &str| ELEMENTS.iter().find(|(_, element)| element.name == wanted);
    if let Some(class) = name.strip_suffix("Storage") {
        let (_, element) =
            ELEMENTS.iter().find(|(prefix, _)| !prefix.is_empty() && *prefix == class)?;
        return Some(Global::Storage(element));
    }
    let (_, element) = by(name).filter(|_| module == "torch")?;
    Some(Global::Dtype(element))
}

const fn readable(name: &'static str, dtype: Dtype, size: usize) -> Element {
    Element { name, size, dtype: Some(dtype) }
}

const fn foreign(name: &'static str, size: usize) -> Element {
    Element { name, size, dtype: None }
}

/// Prefixes of the names of storage classes, where there is a class, and the element types.
static ELEMENTS: [(&str, Element); 27] = [
    ("Double", readable("float64", Dtype::F64, 8)),
    ("Float", readable("float32", Dtype::F32, 4)),
    ("Half", readable("float16", Dtype::F16, 2)),
    ("BFloat16", readable("bfloat16", Dtype::BF16, 2)),
    ("Long", readable("int64", Dtype::I64, 8)),
    ("Int", readable("int32", Dtype::I32, 4)),
    ("Short", readable("int16", Dtype::I16, 2)),
    ("Char", readable("int8", Dtype::I8, 1)),
    ("Byte", readable("uint8", Dtype::U8, 1)),
    ("Bool", readable("bool", Dtype::Bool, 1)),
    ("Untyped", readable("bytes", Dtype::U8, 1)),
    ("ComplexFloat", foreign("complex64", 8)),
    ("ComplexDouble", foreign("complex128", 16)),
    ("QInt8", foreign("qint8", 1)),
    ("QUInt8", foreign("quint8", 1)),
    ("QInt32", foreign("qint32", 4)),
    ("QUInt4x2", foreign("quint4x2", 1)),
    ("QUInt2x4", foreign("quint2x4", 1)),
    ("", foreign("complex32", 4)),
    ("", foreign("uint16", 2)),
    ("", foreign("uint32", 4)),
    ("", foreign("uint64", 8)),
    ("", foreign("float8_e4m3fn", 1)),
    ("", foreign("float8_e4m3fnuz", 1)),
    ("", foreign("float8_e5m2", 1)),
    ("", foreign("float8_e5m2fnuz", 1)),
    ("", foreign("float8_e8m0fnu", 1)),
];

/// All other globals. Python 2 and pickle protocol 2 call `builtins` `__builtin__`; NumPy moved `core` to `_core` in
/// 2.0; Python 3.13 moved the paths.
const ALLOWED: &[(&str, &str, Global)] = &[
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensorV2),
    ("torch._utils", "_rebuild_tensor_v3", Global::RebuildTensorV3),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch._utils", "_rebuild_parameter_with_state", Global::RebuildParameterWithState),
    ("torch._tensor", "_rebuild_from_type_v2", Global::RebuildFromType),
    ("torch.nn.parameter", "Parameter", Global::Parameter),
    ("torch", "Size", Global::Size),
    ("torch", "Tensor", Global::Opaque("torch.Tensor")),
    ("torch", "device", Global::Opaque("torch.device")),
    ("torch.serialization", "_get_layout", Global::Opaque("torch.layout")),
    ("torch.torch_version", "TorchVersion", Global::Opaque("torch.torch_version.TorchVersion")),
    ("collections", "OrderedDict", Global::Mapping("collections.OrderedDict")),
    ("collections", "defaultdict", Global::Mapping("collections.defaultdict")),
    ("collections", "Counter", Global::Opaque("collections.Counter")),
    ("collections", "deque", Global::Opaque("collections.deque")),
    ("builtins", "dict", Global::Mapping("dict")),
    ("__builtin__", "dict", Global::Mapping("dict")),
    ("builtins", "list", Global::Opaque("list")),
    ("__builtin__", "list", Global::Opaque("list")),
    ("builtins", "set", Global::Opaque("set")),
    ("__builtin__", "set", Global::Opaque("set")),
    ("builtins", "frozenset", Global::Opaque("frozenset")),
    ("__builtin__", "frozenset", Global::Opaque("frozenset")),
    ("builtins", "complex", Global::Opaque("complex")),
    ("__builtin__", "complex", Global::Opaque("complex")),
    ("builtins", "bytearray", Global::Opaque("bytearray")),
    ("__builtin__", "bytearray", Global::Opaque("bytearray")),
    ("_codecs", "encode", Global::Encode),
    ("argparse", "Namespace", Global::Opaque("argparse.Namespace")),
    ("types", "SimpleNamespace", Global::Opaque("types.SimpleNamespace")),
    ("pathlib", "PosixPath", Global::Opaque("pathlib.PosixPath")),
    ("pathlib", "WindowsPath", Global::Opaque("pathlib.WindowsPath")),
    ("pathlib._local", "PosixPath", Global::Opaque("pathlib.PosixPath")),
    ("pathlib._local", "WindowsPath", Global::Opaque("pathlib.WindowsPath")),
    ("builtins", "bytes", Global::Opaque("bytes")),
    ("__builtin__", "bytes", Global::Opaque("bytes")),
    ("numpy", "dtype", Global::NumpyType),
    ("numpy", "ndarray", Global::Opaque("numpy.ndarray")),
    ("numpy.core.multiarray", "scalar", Global::Opaque("a NumPy scalar")),
    ("numpy._core.multiarray", "scalar", Global::Opaque("a NumPy scalar")),
    ("numpy.core.multiarray", "_reconstruct", Global::NumpyReconstruct),
    ("numpy._core.multiarray", "_reconstruct", Global::NumpyReconstruct),
    ("numpy.core.numeric", "_frombuffer", Global::NumpyFromBuffer),
    ("numpy._core.numeric", "_frombuffer", Global::NumpyFromBuffer),
];
