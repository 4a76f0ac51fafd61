//! Directories of TIFF files, in which all formats store EXIF data.

const ORIENTATION: u16 = 0x0112;

/// The first directory of a TIFF structure.
#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    data: &'a [u8],
    big: bool,
    /// Whether it is of a BigTIFF file, whose offsets and counts are twice as long.
    wide: bool,
    /// The offset of its entries, and their number.
    start: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    /// None where the data is no such structure, or is truncated.
    pub(super) fn of(data: &'a [u8]) -> Option<Self> {
        let (big, wide) = match data.get(..4)? {
            b"MM\0*" => (true, false),
            b"II*\0" => (false, false),
            b"MM\0+" => (true, true),
            b"II+\0" => (false, true),
            _ => return None,
        };
        let mut directory = Self { data, big, wide, start: 0, entries: 0 };
        let start = if wide { directory.place_at(8)? } else { directory.long(4)? as usize };
        directory.entries =
            if wide { directory.place_at(start)? } else { usize::from(directory.short(start)?) };
        directory.start = start.checked_add(if wide { 8 } else { 2 })?;
        // Entries beyond the end of the data are dropped.
        let room = data.len().checked_sub(directory.start)? / directory.step();
        (directory.entries <= room).then_some(directory)
    }

    /// The integer value of an entry, if it is one short or long.
    pub(super) fn number(&self, tag: u16) -> Option<u32> {
        let entry = self.entry(tag)?;
        match self.short(entry + 2)? {
            3 => self.short(entry + self.value()).map(u32::from),
            4 => self.long(entry + self.value()),
            _ => None,
        }
    }

    /// The offset of the low byte of an entry's short value.
    pub(super) fn place(&self, tag: u16) -> Option<usize> {
        let entry = self.entry(tag)?;
        (self.short(entry + 2)? == 3).then_some(entry + self.value() + usize::from(self.big))
    }

    /// The most values that an entry claims to have.
    pub(super) fn most_values(&self) -> usize {
        let count = |entry| {
            if self.wide {
                self.place_at(entry + 4)
            } else {
                self.long(entry + 4).map(|count| count as usize)
            }
        };
        self.all().filter_map(count).max().unwrap_or(0)
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        let (start, step) = (self.start, self.step());
        (0..self.entries).map(move |index| start + index * step)
    }

    fn entry(&self, tag: u16) -> Option<usize> {
        self.all().find(|&entry| self.short(entry) == Some(tag))
    }

    /// Bytes of an entry.
    fn step(&self) -> usize {
        if self.wide { 20 } else { 12 }
    }

    /// The offset of the value in an entry.
    fn value(&self) -> usize {
        if self.wide { 12 } else { 8 }
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.data.get(at..)?.first_chunk()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.data.get(at..)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn place_at(&self, at: usize) -> Option<usize> {
        let bytes = *self.data.get(at..)?.first_chunk()?;
        let place = if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
        usize::try_from(place).ok()
    }
}

/// The orientation (1 to 8) in EXIF data; none where the data is damaged.
pub(super) fn orientation(data: &[u8]) -> Option<u16> {
    let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    let value = Directory::of(data)?.number(ORIENTATION)?;
    u16::try_from(value).ok().filter(|value| (1..=8).contains(value))
}
