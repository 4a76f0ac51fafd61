//! Writes a graph with its parameters as an ONNX file: operators of the version that is asked for, which bear the names
//! of the nodes and read arrays under the names of the state dict. Knows no library of ONNX nor of protocol buffers.

mod activation;
mod attention;
mod content;
mod draft;
mod file;
mod lower;
mod network;
mod norm;
mod options;
mod proto;
mod protobuf;
mod site;
mod window;

pub use file::{Exported, export};
pub use network::Size;
pub use options::{FIRST_OPSET, Image, LAST_OPSET, Normalize, Options};
