//! The tables of blocks.

use Block::{Attend, Fused, Plain, Universal};

pub(super) enum Block {
    /// One convolution.
    Plain {
        kernel: usize,
        channels: usize,
        stride: usize,
    },
    /// A 3×3 expansion, and a 1×1 projection.
    Fused {
        expand: usize,
        stride: usize,
    },
    Universal(Bottleneck),
    Attend(Queries),
}

/// Multi-query attention: the heads share keys and values.
#[derive(Clone, Copy)]
pub(super) struct Queries {
    pub heads: usize,
    /// Features of each query, key and value.
    pub features: usize,
    /// The factor by which the image of keys and values is downsampled.
    pub step: usize,
}

/// The universal inverted bottleneck: a 1×1 expansion and a 1×1 projection, with optional depthwise convolutions before
/// and between them.
#[derive(Clone, Copy)]
pub(super) struct Bottleneck {
    /// Kernel size of the depthwise convolution before the expansion.
    pub start: Option<usize>,
    /// Kernel size of the depthwise convolution after the expansion.
    pub middle: Option<usize>,
    pub expand: usize,
    pub stride: usize,
}

/// Both depthwise convolutions: the "extra depthwise" block of the paper.
const EXTRA: Bottleneck = Bottleneck { start: Some(3), middle: Some(3), expand: 4, stride: 1 };

/// As in MobileNetV2: only the one after the expansion.
const INVERTED: Bottleneck = Bottleneck { start: None, ..EXTRA };

/// As in ConvNeXt: only the one before the expansion.
const NEXT: Bottleneck = Bottleneck { middle: None, ..EXTRA };

const FEED_FORWARD: Bottleneck = Bottleneck { start: None, ..NEXT };

pub(super) struct Stage {
    pub channels: usize,
    pub blocks: &'static [Block],
}

#[rustfmt::skip]
pub(super) const SMALL: &[Stage] = &[
    Stage {
        channels: 32,
        blocks: &[
            Plain { kernel: 3, channels: 32, stride: 2 },
            Plain { kernel: 1, channels: 32, stride: 1 },
        ],
    },
    Stage {
        channels: 64,
        blocks: &[
            Plain { kernel: 3, channels: 96, stride: 2 },
            Plain { kernel: 1, channels: 64, stride: 1 },
        ],
    },
    Stage {
        channels: 96,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), expand: 3, stride: 2 }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 128,
        blocks: &[
            Universal(Bottleneck { expand: 6, stride: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..INVERTED }),
            Universal(Bottleneck { middle: Some(5), expand: 3, ..INVERTED }),
            Universal(INVERTED),
            Universal(INVERTED),
        ],
    },
];

#[rustfmt::skip]
pub(super) const MEDIUM: &[Stage] = &[
    Stage {
        channels: 48,
        blocks: &[
            Fused { expand: 4, stride: 2 },
        ],
    },
    Stage {
        channels: 80,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(Bottleneck { expand: 2, ..EXTRA }),
        ],
    },
    Stage {
        channels: 160,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), expand: 6, stride: 2, ..EXTRA }),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(EXTRA),
            Universal(NEXT),
            Universal(Bottleneck { expand: 2, ..FEED_FORWARD }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 256,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), expand: 6, stride: 2 }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(FEED_FORWARD),
            Universal(NEXT),
            Universal(Bottleneck { middle: Some(5), expand: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(FEED_FORWARD),
            Universal(FEED_FORWARD),
            Universal(Bottleneck { start: Some(5), expand: 2, ..NEXT }),
        ],
    },
];

#[rustfmt::skip]
pub(super) const LARGE: &[Stage] = &[
    Stage {
        channels: 48,
        blocks: &[
            Fused { expand: 4, stride: 2 },
        ],
    },
    Stage {
        channels: 96,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(EXTRA),
        ],
    },
    Stage {
        channels: 192,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 512,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), stride: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
        ],
    },
];

#[rustfmt::skip]
pub(super) const HYBRID_MEDIUM: &[Stage] = &[
    Stage {
        channels: 48,
        blocks: &[
            Fused { expand: 4, stride: 2 },
        ],
    },
    Stage {
        channels: 80,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(Bottleneck { expand: 2, ..EXTRA }),
        ],
    },
    Stage {
        channels: 160,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), expand: 6, stride: 2, ..EXTRA }),
            Universal(Bottleneck { expand: 2, ..FEED_FORWARD }),
            Universal(EXTRA),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Attend(Queries { heads: 4, features: 64, step: 2 }),
            Universal(EXTRA),
            Attend(Queries { heads: 4, features: 64, step: 2 }),
            Universal(NEXT),
            Attend(Queries { heads: 4, features: 64, step: 2 }),
            Universal(EXTRA),
            Attend(Queries { heads: 4, features: 64, step: 2 }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 256,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), expand: 6, stride: 2 }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { expand: 2, ..FEED_FORWARD }),
            Universal(Bottleneck { middle: Some(5), expand: 2, ..EXTRA }),
            Universal(Bottleneck { expand: 2, ..FEED_FORWARD }),
            Universal(FEED_FORWARD),
            Attend(Queries { heads: 4, features: 64, step: 1 }),
            Universal(NEXT),
            Attend(Queries { heads: 4, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Attend(Queries { heads: 4, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Attend(Queries { heads: 4, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
        ],
    },
];

#[rustfmt::skip]
pub(super) const HYBRID_LARGE: &[Stage] = &[
    Stage {
        channels: 48,
        blocks: &[
            Fused { expand: 4, stride: 2 },
        ],
    },
    Stage {
        channels: 96,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(EXTRA),
        ],
    },
    Stage {
        channels: 192,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Attend(Queries { heads: 8, features: 48, step: 2 }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Attend(Queries { heads: 8, features: 48, step: 2 }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Attend(Queries { heads: 8, features: 48, step: 2 }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Attend(Queries { heads: 8, features: 48, step: 2 }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 512,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), stride: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Attend(Queries { heads: 8, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Attend(Queries { heads: 8, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Attend(Queries { heads: 8, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Attend(Queries { heads: 8, features: 64, step: 1 }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
        ],
    },
];
