//! The files of `torch.save`: <https://docs.pytorch.org/docs/stable/notes/serialization.html>.

mod legacy;
mod resolve;
mod state_dict;
mod zip;

pub(super) use legacy::read_legacy;
pub(super) use zip::read_zip;
