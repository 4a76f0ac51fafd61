//! Parameters outside of a running model: initialisation, weights files, names.

mod atomic;
pub mod channels;
mod checkpoint;
mod format;
pub mod fresh;
mod gather;
pub mod init;
pub mod keras;
pub mod load;
pub mod names;
mod pickle;
pub mod position;
pub mod prefix;
mod pth;
mod recipe;
mod refusal;
mod safetensors_file;
mod safetensors_write;
mod source;
pub mod translate;
mod value;

pub use checkpoint::{Checkpoint, Ignored};
pub use safetensors_write::{Data, Item, write_safetensors};
pub use value::{Dtype, Value};
