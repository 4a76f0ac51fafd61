//! Work on libtorch's own thread pool, so that no second pool competes for cores.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

unsafe extern "C" {
    // Of libtorch's stable C interface (`torch/csrc/stable/c/shim.h`).
    fn torch_parallel_for(
        begin: i64,
        end: i64,
        grain: i64,
        work: extern "C" fn(i64, i64, *mut c_void),
        context: *mut c_void,
    ) -> i32;
}

/// Sets the number of threads of an operation.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads as i32);
}

/// The results of `work` for each item, in order.
pub(super) fn on_each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() == 1 {
        return items.into_iter().map(work).collect();
    }
    let slots: Vec<Mutex<(Option<T>, Option<R>)>> =
        items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    for_each_below(slots.len(), &|index| {
        let mut slot = slots[index].lock().unwrap_or_else(PoisonError::into_inner);
        slot.1 = slot.0.take().map(&work);
    });
    let result = |slot: Mutex<(Option<T>, Option<R>)>| {
        let (item, result) = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Should libtorch have failed to begin, the item is still there.
        result.or_else(|| item.map(&work))
    };
    slots.into_iter().filter_map(result).collect()
}

fn for_each_below(count: usize, work: &(dyn Fn(usize) + Sync)) {
    extern "C" fn some(begin: i64, end: i64, context: *mut c_void) {
        // SAFETY: this is the context below, which lives until all are done.
        let work = unsafe { &*context.cast::<&(dyn Fn(usize) + Sync)>() };
        (begin..end).for_each(|index| work(index as usize));
    }
    let context = (&raw const work).cast_mut().cast();
    // SAFETY: `some` only reads what the context points to, and that may be shared by threads.
    let _ = unsafe { torch_parallel_for(0, count as i64, 1, some, context) };
}
