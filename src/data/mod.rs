//! Photographs to arrays: decode, resize as Pillow does, crop, augment and normalise; data sets and data loaders.
//! Independent of any tensor library.

pub mod dataset;
pub mod decode;
pub mod filter;
pub mod list;
pub mod loader;
mod passes;
pub mod photo;
pub mod prepare;
pub mod preprocess;
pub mod random;
pub mod resize;
mod side;
pub mod transform;

pub use dataset::Dataset;
pub use decode::{decode_bytes, decode_file};
pub use filter::Filter;
pub use list::list_photos;
pub use loader::Loader;
pub use photo::{Photo, Window};
pub use prepare::Prepare;
pub use preprocess::Preprocess;
pub use random::{Key, Random};
pub use resize::{resize, resize_window};
pub use transform::{Operation, Pipeline, Step};
