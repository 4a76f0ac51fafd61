//! Parameters outside of a running model: initialisation, weights files, names.

mod atomic;
pub mod channels;
mod checkpoint;
mod contents;
mod filed;
pub mod fill;
mod format;
pub mod fresh;
mod gather;
pub mod init;
pub mod integers;
pub mod keras;
pub mod load;
pub mod names;
pub mod parameters;
mod pickle;
mod plain_memory;
pub mod position;
pub mod prefix;
mod pth;
mod refusal;
mod safetensors_file;
mod safetensors_write;
mod source;
pub mod translate;
mod value;

pub use atomic::{Replaced, Replacement};
pub use checkpoint::Checkpoint;
pub use contents::Ignored;
pub use parameters::{Parameters, Stored};
pub use plain_memory::PlainMemory;
pub use safetensors_write::{Data, Item, write_safetensors};
pub use value::{Dtype, Value};
