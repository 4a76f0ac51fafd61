//! The value of a node for one image, in float64.

use crate::graph::Shape;

/// The numbers of an image, of tokens or of a vector, in the order of the shape.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub shape: Shape,
    pub numbers: Vec<f64>,
}

impl Value {
    /// An image, of a function of channel, row and column.
    pub fn image(
        [channels, height, width]: [usize; 3],
        number: impl Fn(usize, usize, usize) -> f64,
    ) -> Self {
        let at = |at: usize| number(at / width / height, at / width % height, at % width);
        let numbers = (0..channels * height * width).map(at).collect();
        Self { shape: Shape::Image { channels, height, width }, numbers }
    }

    pub fn of([channels, height, width]: [usize; 3], numbers: &[f32]) -> Self {
        let numbers = numbers.iter().copied().map(f64::from).collect();
        Self { shape: Shape::Image { channels, height, width }, numbers }
    }

    /// Channels, rows and columns of an image.
    pub fn size(&self) -> [usize; 3] {
        let Shape::Image { channels, height, width } = self.shape else { panic!("{self:?}") };
        [channels, height, width]
    }

    /// A number of an image; none where the pixel lies outside.
    pub fn pixel(&self, channel: usize, y: isize, x: isize) -> Option<f64> {
        let [_, height, width] = self.size();
        let is_inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        is_inside.then(|| self.numbers[(channel * height + y as usize) * width + x as usize])
    }

    /// Tokens, or the one row of a vector.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.numbers.chunks(self.shape.channels())
    }

    /// A function of the channel and the number, of every number.
    pub fn map(&self, function: impl Fn(usize, f64) -> f64) -> Self {
        let channel = |at: usize| match self.shape {
            Shape::Image { height, width, .. } => at / (height * width),
            Shape::Tokens { width, .. } => at % width,
            Shape::Vector { .. } => at,
        };
        let numbers = self.numbers.iter().enumerate();
        let numbers = numbers.map(|(at, &number)| function(channel(at), number)).collect();
        Self { numbers, ..*self }
    }

    pub fn largest(&self) -> f64 {
        self.numbers.iter().fold(0.0, |most, number| number.abs().max(most))
    }
}
