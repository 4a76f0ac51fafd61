//! The memory of a batch, which several threads fill, each its own rows.

use std::mem::ManuallyDrop;
use std::slice;
use std::sync::Arc;

use crate::memory::{Shortage, zeros};

/// The memory of a batch, initially zero.
#[derive(Debug)]
pub(super) struct Rows {
    numbers: *mut [f32],
    row: usize,
}

/// One row. It exists once, so its owner may write.
#[derive(Debug)]
pub(super) struct Row {
    rows: Arc<Rows>,
    index: usize,
}

// SAFETY: The memory is reached through `Row`s, of which `Rows::new` makes one for each part that no other has, and
// through `into_numbers`, which takes the last handle.
unsafe impl Send for Rows {}
// SAFETY: As above.
unsafe impl Sync for Rows {}

impl Rows {
    /// `count` rows of `row` numbers.
    ///
    /// Fails where there is not enough memory, or the size overflows.
    pub(super) fn new(count: usize, row: usize) -> Result<(Arc<Self>, Vec<Option<Row>>), Shortage> {
        let numbers = zeros(count.saturating_mul(row))?;
        let numbers = Box::into_raw(numbers.into_boxed_slice());
        let rows = Arc::new(Self { numbers, row });
        let each = (0..count).map(|index| Some(Row { rows: rows.clone(), index })).collect();
        Ok((rows, each))
    }

    /// The values, without a copy; none while a row is still in use.
    pub(super) fn into_numbers(rows: Arc<Self>) -> Option<Vec<f32>> {
        let rows = ManuallyDrop::new(Arc::into_inner(rows)?);
        // SAFETY: `new` made it of a box, and `drop`, which would free it, does not run.
        Some(unsafe { Box::from_raw(rows.numbers) }.into_vec())
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: `new` made it of a box, and `into_numbers` has not taken it.
        drop(unsafe { Box::from_raw(self.numbers) });
    }
}

impl Row {
    /// The values of the row.
    pub(super) fn numbers(&mut self) -> &mut [f32] {
        let row = self.rows.row;
        // SAFETY: `index` is below the count of `new`, so the part lies within; it is this row's alone, `self` is
        // borrowed for as long as it is, and the handle in `self` keeps the memory.
        unsafe {
            slice::from_raw_parts_mut(self.rows.numbers.cast::<f32>().add(self.index * row), row)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_apart_and_join_without_a_copy() {
        let (rows, mut each) = Rows::new(3, 2).unwrap();
        let start = rows.numbers.cast::<f32>().cast_const();
        std::thread::scope(|scope| {
            for row in [2, 0] {
                let mut row_of = each[row].take().unwrap();
                scope.spawn(move || row_of.numbers().fill(1.0 + row as f32));
            }
        });
        drop(each);
        let numbers = Rows::into_numbers(rows).unwrap();
        assert_eq!((numbers.as_ptr(), &*numbers), (start, &[1.0, 1.0, 0.0, 0.0, 3.0, 3.0][..]));
    }

    #[test]
    fn a_row_that_is_out_keeps_the_memory() {
        let (rows, mut each) = Rows::new(1, 0).unwrap();
        let mut row = each.pop().unwrap().unwrap();
        assert!(Rows::into_numbers(rows).is_none());
        assert!(row.numbers().is_empty());
    }
}
