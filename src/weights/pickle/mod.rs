//! A pickle interpreter that builds plain data and never runs anything.
//!
//! It supports the opcodes that `torch.save` emits in protocols 1 to 5, and a short table of globals ([`globals`]);
//! everything else is refused by name. Objects live in an arena and refer to each other by index, so shared, cyclic and
//! deeply nested structures take memory in proportion to the file, and nothing here recurses. Reference: CPython's
//! `Lib/pickletools.py`.

mod call;
mod globals;
mod literal;
mod machine;
mod object;
mod opcode;
mod reader;

pub(super) use globals::Element;
pub(super) use machine::unpickle;
pub(super) use object::{Array, Id, Object, Pickle, Tensor};
