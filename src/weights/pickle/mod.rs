//! A pickle machine that builds plain data and never runs anything.
//!
//! It knows the opcodes that `torch.save` emits in protocols 1 to 5, and a short table of globals
//! ([`globals`]); everything else is refused by name. Objects live in an arena and refer to each
//! other by number, so shared, cyclic and deeply nested structures cost what they occupy in the
//! file, and nothing here recurses. Facts: CPython's `Lib/pickletools.py`.

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
