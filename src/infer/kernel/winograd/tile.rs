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
/// errors, which grow with the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::infer) struct Tile {
    pub rows: Axis,
    pub columns: Axis,
}

/// Errors of outputs beside float64 for 64 and for 512 input channels, for normal weights and inputs after a ReLU, relative
/// to the largest output.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Errors {
    /// The root of their mean square, and that of the direct convolution with the same window.
    pub rms: [f64; 2],
    pub direct: [f64; 2],
    /// The largest.
    #[allow(dead_code, reason = "tests compare it")]
    pub most: [f64; 2],
}

impl Tile {
    /// All for which there is code, with their errors.
    pub const ALL: [(Self, Errors); 9] = [
        known(Self::square(2, 3), [6e-8, 1.7e-7], [8e-8, 2.1e-7], [3e-7, 9e-7]),
        known(Self::square(4, 3), [1.7e-7, 4.9e-7], [8e-8, 2.1e-7], [9e-7, 3.2e-6]),
        known(Self::square(6, 3), [7.1e-7, 2.2e-6], [8e-8, 2.1e-7], [8e-6, 2.4e-5]),
        known(Self::square(5, 4), [1.4e-6, 2.9e-6], [2.1e-7, 6.3e-7], [7e-6, 1.7e-5]),
        known(Self::square(4, 5), [8.5e-7, 2.1e-6], [1.6e-7, 4.4e-7], [5e-6, 1.4e-5]),
        known(Self::row(4, 3), [7e-8, 2.2e-7], [4e-8, 1.3e-7], [6e-7, 1.4e-6]),
        known(Self::row(4, 3).turned(), [7e-8, 2.2e-7], [4e-8, 1.3e-7], [6e-7, 1.4e-6]),
        known(Self::row(4, 7), [3.0e-7, 1.1e-6], [6e-8, 2.2e-7], [2e-6, 6e-6]),
        known(Self::row(4, 7).turned(), [3.0e-7, 1.1e-6], [6e-8, 2.2e-7], [2e-6, 6e-6]),
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

    /// Its error beside that of the direct convolution, in the root of the mean square; infinite where there is no code.
    pub fn times_direct(self) -> f64 {
        let found = Self::ALL.into_iter().find(|(tile, _)| *tile == self);
        found.map_or(f64::INFINITY, |(_, Errors { rms, direct, .. })| {
            (rms[0] / direct[0]).max(rms[1] / direct[1])
        })
    }

    /// Products for each pair of channels.
    pub const fn points(self) -> usize {
        self.rows.points() * self.columns.points()
    }
}

const fn known(tile: Tile, rms: [f64; 2], direct: [f64; 2], most: [f64; 2]) -> (Tile, Errors) {
    (tile, Errors { rms, direct, most })
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, columns } = self;
        write!(f, "F({}×{}, {}×{})", rows.outputs, columns.outputs, rows.taps, columns.taps)
    }
}
