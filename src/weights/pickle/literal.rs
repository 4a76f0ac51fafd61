//! Opcodes that make one object.

use super::machine::Machine;
use super::object::Object;
use super::opcode as op;
use crate::weights::refusal::Refusal;

impl<'a> Machine<'a> {
    /// The object that an opcode makes of its argument or of the stack.
    pub(super) fn literal(&mut self, opcode: u8) -> Result<Object<'a>, Refusal> {
        Ok(match opcode {
            op::BININT => Object::Int(i32::from_le_bytes(self.reader.array()?).into()),
            op::BININT1 => Object::Int(self.reader.byte()?.into()),
            op::BININT2 => Object::Int(u16::from_le_bytes(self.reader.array()?).into()),
            op::LONG1 => long(self.reader.sized::<1>()?),
            op::LONG4 => long(self.reader.sized::<4>()?),
            op::BINFLOAT => Object::Float(f64::from_be_bytes(self.reader.array()?)),
            op::SHORT_BINSTRING => old_text(self.reader.sized::<1>()?),
            op::BINSTRING => old_text(self.reader.sized::<4>()?),
            op::SHORT_BINUNICODE => Object::Text(self.reader.sized_text::<1>()?),
            op::BINUNICODE => Object::Text(self.reader.sized_text::<4>()?),
            op::BINUNICODE8 => Object::Text(self.reader.sized_text::<8>()?),
            op::SHORT_BINBYTES => Object::Bytes(self.reader.sized::<1>()?),
            op::BINBYTES => Object::Bytes(self.reader.sized::<4>()?),
            op::BINBYTES8 | op::BYTEARRAY8 => Object::Bytes(self.reader.sized::<8>()?),
            op::EMPTY_TUPLE => Object::Tuple(Vec::new()),
            op::TUPLE1 => Object::Tuple(self.pop_many(1)?),
            op::TUPLE2 => Object::Tuple(self.pop_many(2)?),
            op::TUPLE3 => Object::Tuple(self.pop_many(3)?),
            op::TUPLE => Object::Tuple(self.pop_mark()?),
            op::EMPTY_LIST => Object::List(Vec::new()),
            op::LIST => Object::List(self.pop_mark()?),
            op::EMPTY_DICT => Object::Dict(Vec::new()),
            op::DICT => Object::Dict(self.pop_pairs()?),
            op::FROZENSET => {
                self.pop_mark()?;
                Object::Opaque("frozenset")
            }
            other => {
                return Err(self
                    .reader
                    .refuse("opcodes that torch.save writes", op::name_refused(other)));
            }
        })
    }

    pub(super) fn number_line(&mut self, opcode: u8) -> Result<(), Refusal> {
        let line = self.reader.line()?;
        let object = match (opcode, line) {
            (op::INT, "00") => Some(Object::Bool(false)),
            (op::INT, "01") => Some(Object::Bool(true)),
            (op::FLOAT, line) => line.parse().ok().map(Object::Float),
            (_, line) => line.strip_suffix('L').unwrap_or(line).parse().ok().map(Object::Int),
        };
        let object =
            object.ok_or_else(|| self.reader.refuse("a number of 64 bits", "other text"))?;
        self.push(object);
        Ok(())
    }
}

fn long(bytes: &[u8]) -> Object<'_> {
    if bytes.len() > 8 {
        return Object::BigInt(bytes);
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Object::Int(i64::from_le_bytes(wide))
}

/// Text from Python 2, which pickled all of it as bytes.
fn old_text(bytes: &[u8]) -> Object<'_> {
    std::str::from_utf8(bytes).map_or(Object::Bytes(bytes), Object::Text)
}
