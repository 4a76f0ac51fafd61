//! The tiles for which there is code.

use std::fmt;

/// One direction of a tile: outputs that are computed together, and the taps of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::infer) struct Axis {
    pub outputs: usize,
    pub taps: usize,
}

impl Axis {
    /// A direction in which the window has one tap.
    const NONE: Self = Self { outputs: 1, taps: 1 };

    /// Products for each pair of channels, and inputs of a tile.
    pub const fn points(self) -> usize {
        self.outputs + self.taps - 1
    }
}

/// Outputs that are computed together, in rows and in columns. Larger tiles need fewer multiplications and have larger
/// errors, which grow with the channels: beside float64, for normal weights and inputs after a ReLU, relative to the
/// largest output, for 64 and for 512 channels:
///
/// | tile | multiplications | rms | most |
/// | --- | --- | --- | --- |
/// | none, the direct convolution | 1 | 8e-8, 2.1e-7 | 4e-7, 1.5e-6 |
/// | 2×2 for 3×3 | 1 / 2.25 | 6e-8, 1.7e-7 | 3e-7, 9e-7 |
/// | 4×4 for 3×3 | 1 / 4 | 1.7e-7, 4.9e-7 | 9e-7, 3.2e-6 |
/// | 6×6 for 3×3 | 1 / 5.06 | 7.1e-7, 2.2e-6 | 8e-6, 2.4e-5 |
/// | 5×5 for 4×4 | 1 / 6.25 | 1.4e-6, 2.9e-6 | 7e-6, 1.7e-5 |
/// | 4×4 for 5×5 | 1 / 6.25 | 8.5e-7, 2.1e-6 | 5e-6, 1.4e-5 |
/// | 1×4 for 1×3 | 1 / 2 | 7e-8, 2.2e-7 | 6e-7, 1.4e-6 |
/// | 1×4 for 1×7 | 1 / 2.8 | 3.0e-7, 1.1e-6 | 2e-6, 6e-6 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::infer) struct Tile {
    pub rows: Axis,
    pub columns: Axis,
}

impl Tile {
    /// All for which there is code.
    #[cfg(test)]
    pub const ALL: [Self; 9] = [
        Self::square(2, 3),
        Self::square(4, 3),
        Self::square(6, 3),
        Self::square(5, 4),
        Self::square(4, 5),
        Self::row(4, 3),
        Self::row(4, 3).turned(),
        Self::row(4, 7),
        Self::row(4, 7).turned(),
    ];

    pub const fn square(outputs: usize, taps: usize) -> Self {
        let axis = Axis { outputs, taps };
        Self { rows: axis, columns: axis }
    }

    /// For a window of one row.
    pub const fn row(outputs: usize, taps: usize) -> Self {
        Self { rows: Axis::NONE, columns: Axis { outputs, taps } }
    }

    pub const fn turned(self) -> Self {
        Self { rows: self.columns, columns: self.rows }
    }

    /// Products for each pair of channels.
    pub const fn points(self) -> usize {
        self.rows.points() * self.columns.points()
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, columns } = self;
        write!(f, "F({}×{}, {}×{})", rows.outputs, columns.outputs, rows.taps, columns.taps)
    }
}
