//! Protocol buffers as they are written: messages whose large fields come later, from where they lie.

/// The number of a type that a field's key has.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// So many bytes of the content with this number, which whoever writes the message knows.
    Content {
        number: usize,
        length: usize,
    },
}

/// A message that grows field by field. Fields of one number are a list, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pieces: Vec<Piece>,
    length: usize,
}

impl Message {
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Its size in bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn integer(&mut self, field: u64, value: i64) {
        self.varint(field << 3 | VARINT);
        self.varint(value.cast_unsigned());
    }

    pub(super) fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | FIXED32);
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn text(&mut self, field: u64, value: &str) {
        self.begin(field, value.len());
        self.bytes(value.as_bytes());
    }

    pub(super) fn message(&mut self, field: u64, value: Self) {
        self.begin(field, value.length);
        for piece in value.pieces {
            match piece {
                Piece::Bytes(bytes) => self.bytes(&bytes),
                content @ Piece::Content { length, .. } => {
                    self.pieces.push(content);
                    self.length += length;
                }
            }
        }
    }

    /// A field of bytes that come later.
    pub(super) fn content(&mut self, field: u64, number: usize, length: usize) {
        self.begin(field, length);
        self.pieces.push(Piece::Content { number, length });
        self.length += length;
    }

    fn begin(&mut self, field: u64, length: usize) {
        self.varint(field << 3 | LENGTH);
        self.varint(length as u64);
    }

    /// Seven bits in each byte, the lowest first; the highest bit of a byte says that another follows.
    fn varint(&mut self, mut value: u64) {
        while value >= 1 << 7 {
            self.bytes(&[value as u8 | 1 << 7]);
            value >>= 7;
        }
        self.bytes(&[value as u8]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.pieces.last_mut() {
            Some(Piece::Bytes(last)) => last.extend(bytes),
            _ => self.pieces.push(Piece::Bytes(bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::default();
        write(&mut message);
        match message.pieces() {
            [] => Vec::new(),
            [Piece::Bytes(bytes)] => bytes.clone(),
            pieces => panic!("{pieces:?}"),
        }
    }

    /// The examples of protobuf.dev/programming-guides/encoding.
    #[test]
    fn fields_are_those_of_the_specification() {
        assert_eq!(bytes(|message| message.integer(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(|message| message.text(2, "testing")), b"\x12\x07testing");
        let inner = |message: &mut Message| {
            let mut inner = Message::default();
            inner.integer(1, 150);
            message.message(3, inner);
        };
        assert_eq!(bytes(inner), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        // Ten bytes with the sign, and a number of a field that itself takes two.
        let minus = bytes(|message| message.integer(20, -1));
        assert_eq!(minus[..2], [0xa0, 0x01]);
        assert_eq!(minus[2..], [&[0xff; 9][..], &[0x01]].concat());
        assert_eq!(bytes(|message| message.float(5, 1.5)), [0x2d, 0x00, 0x00, 0xc0, 0x3f]);
        assert_eq!(bytes(|message| message.integer(1, i64::MAX)).len(), 10);
    }

    #[test]
    fn content_is_counted_before_it_is_there() {
        let (mut inner, mut whole) = (Message::default(), Message::default());
        inner.text(1, "a");
        inner.content(9, 7, 300);
        inner.integer(2, 1);
        // The key, two bytes of length and 300.
        assert_eq!(inner.length(), 3 + 3 + 300 + 2);
        whole.integer(1, 0);
        whole.message(6, inner);
        assert_eq!(whole.length(), 2 + 3 + 308);
        let [Piece::Bytes(before), Piece::Content { number: 7, length: 300 }, Piece::Bytes(after)] =
            whole.pieces()
        else {
            panic!("{:?}", whole.pieces());
        };
        // 308 = 0b10_0110100.
        assert_eq!(before[..5], [0x08, 0x00, 0x32, 0xb4, 0x02]);
        assert_eq!(before[5..], [0x0a, 0x01, b'a', 0x4a, 0xac, 0x02]);
        assert_eq!(after[..], [0x10, 0x01]);
    }
}
