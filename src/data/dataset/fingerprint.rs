//! A hash that is the same in every version and on every machine, since run checkpoints hold it.

use crate::data::random::mix;

/// Hashes parts one after another; the boundaries between them count too.
#[derive(Debug, Default)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        self.0 = mix(self.0 ^ number as u64);
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len());
        let (words, rest) = bytes.as_chunks();
        for &word in words {
            self.0 = mix(self.0 ^ u64::from_le_bytes(word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.0 = mix(self.0 ^ u64::from_le_bytes(last));
        self
    }

    pub(super) fn texts(&mut self, texts: &[String]) -> &mut Self {
        self.number(texts.len());
        for text in texts {
            self.bytes(text.as_bytes());
        }
        self
    }

    pub(super) fn numbers(&mut self, numbers: &[usize]) -> &mut Self {
        self.number(numbers.len());
        for &number in numbers {
            self.number(number);
        }
        self
    }

    pub(super) fn value(&self) -> u64 {
        self.0
    }
}
