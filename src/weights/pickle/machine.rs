//! The stack machine.

use std::collections::HashMap;

use super::globals::Global;
use super::object::{Id, Object, Pickle, describe};
use super::opcode as op;
use super::reader::Reader;
use crate::weights::refusal::Refusal;

const NONE_ID: Id = 0;
const FALSE_ID: Id = 1;
const TRUE_ID: Id = 2;

/// Limit on the opcodes and copied items of one pickle. Each makes at most one object of 32 bytes, so this bounds
/// memory and time; large training checkpoints take some hundred thousand.
const MOST_STEPS: usize = 1 << 23;

pub(super) struct Machine<'a> {
    pub(super) reader: Reader<'a>,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    steps: usize,
}

/// Reads one pickle from the front of `bytes`.
///
/// # Errors
/// A pickle that is damaged, uses opcodes or globals that are not in the tables, or is too large.
pub(crate) fn unpickle(bytes: &[u8]) -> Result<Pickle<'_>, Refusal> {
    let mut machine = Machine {
        reader: Reader::new(bytes),
        objects: vec![Object::None, Object::Bool(false), Object::Bool(true)],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        steps: 0,
    };
    loop {
        machine.spend(1)?;
        let opcode = machine.reader.byte()?;
        if opcode == op::STOP {
            break;
        }
        machine.step(opcode)?;
    }
    let root = machine.pop()?;
    Ok(Pickle { objects: machine.objects, root, length: machine.reader.at() })
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), Refusal> {
        match opcode {
            op::PROTO => self.protocol()?,
            op::FRAME => drop(self.reader.array::<8>()?),
            op::MARK => self.marks.push(self.stack.len()),
            op::POP => self.pop_or_unmark()?,
            op::POP_MARK => drop(self.pop_mark()?),
            op::DUP => self.stack.push(self.top()?),
            op::NONE => self.stack.push(NONE_ID),
            op::NEWFALSE => self.stack.push(FALSE_ID),
            op::NEWTRUE => self.stack.push(TRUE_ID),
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(opcode)?,
            op::GET | op::BINGET | op::LONG_BINGET => self.get(opcode)?,
            op::EMPTY_SET => self.push(Object::Opaque("set")),
            op::ADDITEMS => self.add_to_set()?,
            op::APPEND | op::APPENDS => self.append(opcode)?,
            op::SETITEM | op::SETITEMS => self.set_items(opcode)?,
            op::REDUCE | op::NEWOBJ => self.reduce()?,
            op::NEWOBJ_EX => {
                self.pop()?;
                self.reduce()?;
            }
            op::BUILD => self.build()?,
            op::BINPERSID => {
                let reference = self.pop()?;
                let storage = self.persistent(reference)?;
                self.stack.push(storage);
            }
            op::GLOBAL | op::STACK_GLOBAL | op::INST => self.global(opcode)?,
            op::INT | op::LONG | op::FLOAT => self.number_line(opcode)?,
            _ => {
                let object = self.literal(opcode)?;
                self.push(object);
            }
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<(), Refusal> {
        match self.reader.byte()? {
            0..=5 => Ok(()),
            other => Err(self.reader.refuse("pickle protocol 5 or lower", other)),
        }
    }

    fn put(&mut self, opcode: u8) -> Result<(), Refusal> {
        let slot = match opcode {
            op::MEMOIZE => self.memo.len() as u32,
            _ => self.slot(opcode)?,
        };
        self.memo.insert(slot, self.top()?);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Result<(), Refusal> {
        let slot = self.slot(opcode)?;
        let id = self.memo.get(&slot).copied();
        let id = id.ok_or_else(|| self.reader.refuse("a memo slot that is set", slot))?;
        self.stack.push(id);
        Ok(())
    }

    fn slot(&mut self, opcode: u8) -> Result<u32, Refusal> {
        match opcode {
            op::BINPUT | op::BINGET => Ok(self.reader.byte()?.into()),
            op::LONG_BINPUT | op::LONG_BINGET => Ok(u32::from_le_bytes(self.reader.array()?)),
            _ => {
                let slot = self.reader.line()?.parse();
                slot.map_err(|_| self.reader.refuse("the number of a memo slot", "other text"))
            }
        }
    }

    fn append(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = if opcode == op::APPEND { self.pop_many(1)? } else { self.pop_mark()? };
        let list = self.top()?;
        match &mut self.objects[list as usize] {
            Object::List(to) => to.extend(items),
            Object::Opaque(_) => {}
            _ => return Err(self.misplaced("a list to append to", list)),
        }
        Ok(())
    }

    fn add_to_set(&mut self) -> Result<(), Refusal> {
        self.pop_mark()?;
        let set = self.top()?;
        match self.objects[set as usize] {
            Object::Opaque(_) => Ok(()),
            _ => Err(self.misplaced("a set to add to", set)),
        }
    }

    fn set_items(&mut self, opcode: u8) -> Result<(), Refusal> {
        let pairs = match opcode {
            op::SETITEM => pairs(&self.pop_many(2)?),
            _ => self.pop_pairs()?,
        };
        let dict = self.top()?;
        match &mut self.objects[dict as usize] {
            Object::Dict(to) => to.extend(pairs),
            Object::Opaque(_) => {}
            _ => return Err(self.misplaced("a dict to put items into", dict)),
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), Refusal> {
        let (module, name) = match opcode {
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                (self.text(module)?, self.text(name)?)
            }
            _ => (self.reader.line()?, self.reader.line()?),
        };
        let global = Global::find(module, name)?;
        if opcode == op::INST {
            return Err(self.reader.refuse("opcodes that torch.save writes", "the opcode INST"));
        }
        self.push(Object::Global(global));
        Ok(())
    }

    /// A function or class applied to a tuple of arguments.
    fn reduce(&mut self) -> Result<(), Refusal> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Object::Global(global) = self.objects[function as usize] else {
            return Err(self.misplaced("a function to call", function));
        };
        let result = self.call(global, arguments)?;
        self.stack.push(result);
        Ok(())
    }

    /// Sets attributes on an object: none of them matters for a tensor or plain data.
    fn build(&mut self) -> Result<(), Refusal> {
        let state = self.pop()?;
        let object = self.top()?;
        match self.objects[object as usize] {
            Object::Unfilled | Object::Element(_) => self.build_numpy(object, state),
            Object::Dict(_) | Object::Tensor(_) | Object::Opaque(_) => Ok(()),
            _ => Err(self.misplaced("an object with attributes", object)),
        }
    }

    fn pop_or_unmark(&mut self) -> Result<(), Refusal> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    pub(super) fn pop_pairs(&mut self) -> Result<Vec<(Id, Id)>, Refusal> {
        let items = self.pop_mark()?;
        if items.len() % 2 == 1 {
            return Err(self.reader.refuse("a value for each key", "a key without one"));
        }
        Ok(pairs(&items))
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, Refusal> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.reader.refuse("a mark on the stack", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Refusal> {
        let above = self.above_mark();
        if above < count {
            return Err(self.underflow());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    pub(super) fn pop(&mut self) -> Result<Id, Refusal> {
        match self.above_mark() {
            0 => Err(self.underflow()),
            _ => self.stack.pop().ok_or_else(|| self.underflow()),
        }
    }

    fn top(&self) -> Result<Id, Refusal> {
        match self.above_mark() {
            0 => Err(self.underflow()),
            _ => self.stack.last().copied().ok_or_else(|| self.underflow()),
        }
    }

    /// The number of objects above the last mark, which are those that may be taken.
    fn above_mark(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn underflow(&self) -> Refusal {
        self.reader.refuse("an object on the stack", "none")
    }

    pub(super) fn push(&mut self, object: Object<'a>) {
        let id = self.add(object);
        self.stack.push(id);
    }

    pub(super) fn add(&mut self, object: Object<'a>) -> Id {
        self.objects.push(object);
        // MOST_STEPS keeps the number far below 32 bits.
        (self.objects.len() - 1) as Id
    }

    pub(super) fn replace(&mut self, id: Id, object: Object<'a>) {
        self.objects[id as usize] = object;
    }

    pub(super) fn object(&self, id: Id) -> &Object<'a> {
        &self.objects[id as usize]
    }

    pub(super) fn text(&self, id: Id) -> Result<&'a str, Refusal> {
        match *self.object(id) {
            Object::Text(text) => Ok(text),
            _ => Err(self.misplaced("text", id)),
        }
    }

    pub(super) fn misplaced(&self, expected: &str, id: Id) -> Refusal {
        self.reader.refuse(expected, describe(self.object(id)))
    }

    /// Counts work against the limit.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Refusal> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MOST_STEPS {
            return Err(self
                .reader
                .refuse(format!("a pickle of at most {MOST_STEPS} steps"), "more"));
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)).collect()
}
