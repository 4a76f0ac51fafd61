//! Photographs to arrays: decode, resize as Pillow does, crop and normalise; data sets and what loads them. Knows no
//! tensor library.

pub mod dataset;
pub mod decode;
pub mod filter;
pub mod loader;
pub mod photo;
pub mod prepare;
pub mod preprocess;
pub mod random;
pub mod resize;

pub use dataset::Dataset;
pub use decode::{decode_bytes, decode_file};
pub use filter::Filter;
pub use loader::Loader;
pub use photo::Photo;
pub use prepare::Prepare;
pub use preprocess::Preprocess;
pub use random::{Key, Random};
pub use resize::{Window, resize, resize_window};
