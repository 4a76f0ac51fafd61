//! Sequential reading of a pickle's bytes.

use crate::weights::refusal::Refusal;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else { return Err(self.ended()) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Refusal> {
        Ok(self.array::<1>()?[0])
    }

    /// Bytes preceded by their length, which is little-endian in `N` bytes.
    pub(super) fn sized<const N: usize>(&mut self) -> Result<&'a [u8], Refusal> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.array::<N>()?);
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        self.take(length)
    }

    pub(super) fn sized_text<const N: usize>(&mut self) -> Result<&'a str, Refusal> {
        let bytes = self.sized::<N>()?;
        // CPython pickles lone surrogates too; no name of a parameter has one.
        std::str::from_utf8(bytes).map_err(|_| self.refuse("text in UTF-8", "other bytes"))
    }

    /// Text up to a line break, which is dropped.
    pub(super) fn line(&mut self) -> Result<&'a str, Refusal> {
        const LONGEST: usize = 4096;
        let rest = &self.bytes[self.at..];
        let begin = &rest[..rest.len().min(LONGEST)];
        let Some(length) = begin.iter().position(|&byte| byte == b'\n') else {
            let refusal = self.refuse("a line of text", "no line's end");
            return Err(if rest.len() < LONGEST { refusal.cut() } else { refusal });
        };
        let line = std::str::from_utf8(self.take(length)?);
        let line = line.map_err(|_| self.refuse("a line of text in UTF-8", "other bytes"))?;
        self.take(1)?;
        Ok(line)
    }

    pub(super) fn refuse(
        &self,
        expected: impl Into<String>,
        got: impl std::fmt::Display,
    ) -> Refusal {
        Refusal::new(expected, format!("{got} at byte {} of the pickle", self.at))
    }

    fn ended(&self) -> Refusal {
        let got = format!("its end after {} bytes", self.bytes.len());
        Refusal::new("a complete pickle", got).cut()
    }
}
