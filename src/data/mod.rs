//! Photographs to arrays: decode, resize as Pillow does, crop and normalise. Knows no tensor library.

// Placeholder for the merge of the data room; only what the tables of the families name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    Nearest,
    Box,
    Bilinear,
    Hamming,
    Bicubic,
    Lanczos,
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Preprocess {
    pub resize: u32,
    pub crop: u32,
    pub interpolation: Filter,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Preprocess {
    pub const fn imagenet(resize: u32, crop: u32, interpolation: Filter) -> Self {
        Self {
            resize,
            crop,
            interpolation,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}
