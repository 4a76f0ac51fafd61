//! Augmentation, with the definitions of torchvision and the arithmetic of Pillow.
//!
//! A step is an option of a recipe (`RandomResizedCrop`). Drawing it for one photograph gives deterministic operations
//! (a crop, a resize), and applying those gives the pixels. Draws and pixels are tested apart.

mod affine;
mod augment;
mod blend;
mod canvas;
mod chance;
mod check;
mod color_jitter;
mod crop;
mod drawn;
mod enlarge;
mod erase;
mod flip;
mod hue;
mod operation;
mod pipeline;
mod policy;
mod random_resized_crop;
mod resize;
mod step;
mod table;

pub use augment::{RandAugment, TrivialAugmentWide};
pub use color_jitter::ColorJitter;
pub use crop::{CenterCrop, RandomCrop, RandomShift};
pub use drawn::Drawn;
pub use enlarge::{Margins, PaddingMode};
pub use erase::{Erasure, RandomErasing, Value};
pub use flip::Flip;
pub use operation::Operation;
pub use pipeline::Pipeline;
pub use policy::{AutoAugment, Policy};
pub use random_resized_crop::RandomResizedCrop;
pub use resize::Resize;
pub use step::{Grayscale, Normalize, Step};
