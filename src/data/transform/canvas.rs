//! A photograph with pending operations: crops and flips are carried out when an operation needs the pixels in place.

use std::borrow::Cow;

use ndarray::{ArrayViewMut3, Axis, Zip};

use crate::Result;
use crate::data::Photo;
use crate::data::photo::{View, Window, no_room};
use crate::memory::room;

#[derive(Debug)]
pub struct Canvas<'a> {
    photo: Cow<'a, Photo>,
    /// The part that crops have left of the photograph.
    window: Window,
    mirrored: bool,
    upside_down: bool,
}

impl<'a> Canvas<'a> {
    pub fn new(photo: Cow<'a, Photo>) -> Self {
        let window = photo.whole();
        Self { photo, window, mirrored: false, upside_down: false }
    }

    pub fn width(&self) -> usize {
        self.window.width
    }

    pub fn height(&self) -> usize {
        self.window.height
    }

    pub fn channels(&self) -> usize {
        self.photo.channels()
    }

    pub fn replace(&mut self, photo: Photo) {
        *self = Self::new(Cow::Owned(photo));
    }

    pub fn flip_horizontal(&mut self) {
        self.mirrored = !self.mirrored;
    }

    pub fn flip_vertical(&mut self) {
        self.upside_down = !self.upside_down;
    }

    /// Crops to a part, which must lie inside.
    pub fn crop(&mut self, part: Window) {
        let Window { left, top, width, height } = part;
        let left = if self.mirrored { self.width() - width - left } else { left };
        let top = if self.upside_down { self.height() - height - top } else { top };
        let Window { left: x, top: y, .. } = self.window;
        self.window = Window { left: x + left, top: y + top, width, height };
    }

    /// The pixels, with pending flips carried out.
    pub fn upright(&mut self) -> Result<View<'_>> {
        if self.mirrored || self.upside_down {
            let Self { mirrored, upside_down, .. } = *self;
            let view = self.photo.part(self.window);
            let channels = view.channels;
            let mut pixels = room(view.width * view.height * channels).map_err(no_room)?;
            for index in 0..view.height {
                let row = if upside_down { view.height - 1 - index } else { index };
                let row = &view.pixels[row * view.stride..][..view.width * channels];
                if mirrored {
                    pixels.extend(row.rchunks_exact(channels).flatten());
                } else {
                    pixels.extend_from_slice(row);
                }
            }
            let photo = Photo::with_channels(view.width, view.height, channels, pixels)?;
            self.replace(photo);
        }
        Ok(self.photo.part(self.window))
    }

    /// The pixels, to be changed one by one: their place does not count, so flips stay pending.
    pub fn pixels_mut(&mut self) -> Result<&mut [u8]> {
        let view = self.photo.part(self.window);
        let whole = view.height == self.photo.height() && view.width == self.photo.width();
        if !whole || matches!(self.photo, Cow::Borrowed(_)) {
            let (width, height, channels) = (view.width, view.height, view.channels);
            let photo = Photo::with_channels(width, height, channels, view.copied()?)?;
            self.window = Window { left: 0, top: 0, ..self.window };
            self.photo = Cow::Owned(photo);
        }
        Ok(self.photo.to_mut().pixels_mut())
    }

    /// Converts to another number of channels.
    pub fn convert(&mut self, channels: usize) -> Result<()> {
        if channels != self.channels() {
            self.pixels_mut()?;
            let photo = self.photo.to_channels(channels)?.into_owned();
            self.photo = Cow::Owned(photo);
        }
        Ok(())
    }

    /// Writes values of shape (channels, height, width): each byte is looked up in the table of its channel.
    pub fn write(&self, tables: &[[f32; 256]], mut out: ArrayViewMut3<'_, f32>) {
        if self.mirrored {
            out.invert_axis(Axis(2));
        }
        if self.upside_down {
            out.invert_axis(Axis(1));
        }
        let bytes = self.photo.array(self.window);
        for ((out, bytes), table) in out.outer_iter_mut().zip(bytes.axis_iter(Axis(2))).zip(tables)
        {
            Zip::from(out).and(bytes).for_each(|out, &byte| *out = table[usize::from(byte)]);
        }
    }

    /// The photograph with all operations carried out.
    pub fn into_photo(mut self) -> Result<Photo> {
        self.upright()?;
        self.pixels_mut()?;
        Ok(self.photo.into_owned())
    }
}
