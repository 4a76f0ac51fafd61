//! Threads for the tasks of a step: they persist, look out for the next step for some microseconds, and then sleep.
//!
//! All that a step costs is a few atomic operations. Its word `state` says whether there is a job, which one, and how
//! many workers have joined it. The caller works on the tasks itself, and when none is left it closes the job: who has not
//! joined by then finds nothing to do, so the caller waits for no thread that the machine has not let run. Whoever has
//! joined is counted out when it leaves, and only then may the job's function go.

use std::any::Any;
use std::cell::UnsafeCell;
use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::error::Result;

/// Threads that share tasks with the thread that brings them. One caller at a time has them; others meanwhile work alone.
#[derive(Debug)]
pub struct Pool {
    /// Whether a caller has the threads.
    taken: AtomicBool,
    team: Arc<Team>,
    /// The workers' threads, in the order of `Team::asleep`.
    threads: Vec<Thread>,
    /// The forks before its threads were started: a forked child has none of them.
    forks: usize,
}

/// More threads than any machine has cores.
pub const MOST_THREADS: usize = 4096;

/// The parts of a task that has enough rows: with more, the last ones would be too small to be worth their own loops.
pub(super) const PARTS: usize = 4;

/// The time for which a thread looks for work, or for the end of it, before it sleeps. To wake a thread takes some
/// microseconds of the caller's time, and tens until it runs.
const PATIENCE: Duration = Duration::from_micros(50);

/// The time before it lets others run, where there are more threads than cores: it would take the processor from those who
/// have work, among them perhaps the caller itself. Elsewhere it lets nobody run: other programs that are always busy
/// would keep the processor for milliseconds.
const SPIN: Duration = Duration::from_micros(5);

/// The state that the caller and its workers share.
#[derive(Debug)]
struct Team {
    /// The number of the job, flags, and the count of the workers that are at it. A worker joins by replacing the word
    /// that it saw, so it cannot join a job that was closed, or another one than it saw.
    ///
    /// The caller's store of a new job releases `job` and `next` to those who join, since that acquires. Workers release
    /// what their tasks wrote when they leave, and the caller acquires that when it sees a count of zero: all changes in
    /// between add to, or take from, the word, so that none of the releases is lost.
    state: Line<AtomicU64>,
    /// For each thread, the caller's first, the next part of its share. Shares are the same from step to step where steps
    /// have as many tasks, so that a thread finds in its cache what it wrote; who has done its own helps others.
    next: Box<[Line<AtomicUsize>]>,
    job: UnsafeCell<Option<Job>>,
    /// Which workers sleep, or are about to. A worker sets its own and then looks at `state` once more; the caller
    /// changes `state` and then looks at these. As all four are sequentially consistent, one of them sees the other.
    asleep: Box<[AtomicBool]>,
    /// For how long a thread looks for something before it lets others run.
    spin: Duration,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// For a caller that waits longer.
    waiting: Mutex<()>,
    left: Condvar,
}

/// The caller has a job that may be joined.
const OPEN: u64 = 1 << 31;
/// The caller sleeps until the last worker leaves.
const WAITED: u64 = 1 << 30;
/// The pool is gone.
const ENDED: u64 = 1 << 29;
/// The count of workers.
const WORKERS: u64 = ENDED - 1;
/// The number of the job, which may wrap around: no worker sleeps through all others.
const NUMBER: u64 = !((1 << 32) - 1);

/// Cache lines of its own: two, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

/// A function of a task and some of its parts.
type Function<'a> = dyn Fn(usize, Range<usize>) + Sync + 'a;

/// Such a function with its lifetime erased.
#[derive(Clone, Copy)]
struct Job {
    function: *const Function<'static>,
    /// The parts of all tasks, and those of one.
    parts: (usize, usize),
}

// SAFETY: `job` is written by the one caller that has the pool, while no worker is at it, and read by workers that have
// joined. Its function is `Sync`, and outlives them. All else is `Sync` by itself.
unsafe impl Sync for Team {}
// SAFETY: as above; nothing belongs to one thread.
unsafe impl Send for Team {}

impl Pool {
    /// A pool of so many threads, the caller's included.
    pub fn new(threads: usize) -> Self {
        let forks = forks();
        let workers = threads.clamp(1, MOST_THREADS) - 1;
        let team = Arc::new(Team::new(workers));
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers {
            let team = Arc::clone(&team);
            let worker = thread::Builder::new().name(format!("cnnzoo-{}", number + 1));
            // Where no more threads may be started, those that were suffice.
            let Ok(handle) = worker.spawn(move || team.work(number)) else { break };
            threads.push(handle.thread().clone());
        }
        Self { taken: AtomicBool::new(false), team, threads, forks }
    }

    /// The number of its threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `function` with every number below `tasks`, on all threads, and returns when all calls have. A panic of one
    /// reaches the caller, and the tasks that were not begun are left out.
    pub fn run(&self, tasks: usize, function: &(dyn Fn(usize) + Sync)) {
        self.divide((tasks, 1), &|task, _| function(task));
    }

    /// As `run`, for tasks of so many parts each: `function` is called with a task and some of its parts. A thread takes a
    /// whole task while others of its share are left, and then fewer and fewer parts, so that none waits long for another
    /// where their cores are not equally fast.
    pub fn divide(&self, (tasks, parts): (usize, usize), function: &Function<'_>) {
        let alone = || (0..tasks).for_each(|task| function(task, 0..parts));
        let all = tasks.saturating_mul(parts);
        if all <= 1 || self.threads.is_empty() {
            return alone();
        }
        if self.forks != forks() {
            return Self::shared().divide((tasks, parts), function);
        }
        // Acquires what the caller before did: its job has ended.
        if self.taken.swap(true, Ordering::Acquire) {
            return alone();
        }
        #[allow(clippy::transmute_ptr_to_ptr, reason = "a cast cannot change the lifetime")]
        // SAFETY: only the lifetime changes. The job is closed, and all who have joined it are waited for, before
        // this function is left; panics are caught until then. So none uses the function after its end.
        let erased = unsafe {
            std::mem::transmute::<*const Function<'_>, *const Function<'static>>(
                std::ptr::from_ref(function),
            )
        };
        let team = &*self.team;
        // SAFETY: this caller alone has the pool, and no worker is at a job: the caller before saw all leave.
        unsafe { *team.job.get() = Some(Job { function: erased, parts: (all, parts) }) };
        for (thread, next) in team.next.iter().enumerate() {
            next.0.store(team.share(thread, all).start, Ordering::Relaxed);
        }
        let number = (team.state.0.load(Ordering::Relaxed) & NUMBER).wrapping_add(1 << 32);
        team.state.0.store(number | OPEN, Ordering::SeqCst);
        self.wake(all - 1);
        let own = catch_unwind(AssertUnwindSafe(|| team.take(0, (all, parts), function)));
        if own.is_err() {
            team.skip();
        }
        team.end();
        let others = lock(&team.panic).take();
        self.taken.store(false, Ordering::Release);
        if let Some(panic) = own.err().or(others) {
            resume_unwind(panic);
        }
    }

    /// As `run`, for tasks that may fail: the error of one reaches the caller, and the other tasks run all the same.
    pub fn try_run(
        &self,
        tasks: usize,
        function: &(dyn Fn(usize) -> Result<()> + Sync),
    ) -> Result<()> {
        self.try_divide((tasks, 1), &|task, _| function(task))
    }

    /// As `divide`, for tasks that may fail.
    pub fn try_divide(
        &self,
        tasks: (usize, usize),
        function: &(dyn Fn(usize, Range<usize>) -> Result<()> + Sync),
    ) -> Result<()> {
        let failure = Mutex::new(Ok(()));
        self.divide(tasks, &|task, parts| {
            let result = function(task, parts);
            if result.is_err() {
                *lock(&failure) = result;
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes sleeping workers, unless enough others look for work already.
    fn wake(&self, wanted: usize) {
        let sleeps = |asleep: &AtomicBool| asleep.load(Ordering::SeqCst);
        let pairs = || self.team.asleep.iter().zip(&self.threads);
        let awake = pairs().filter(|(asleep, _)| !sleeps(asleep)).count();
        let asleep = pairs().filter(|(asleep, _)| sleeps(asleep));
        for (asleep, thread) in asleep.take(wanted.saturating_sub(awake)) {
            asleep.store(false, Ordering::Relaxed);
            thread.unpark();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The threads of another process end with it.
        if self.forks == forks() {
            self.team.state.0.fetch_or(ENDED, Ordering::SeqCst);
            self.threads.iter().for_each(Thread::unpark);
        }
    }
}

impl Team {
    fn new(workers: usize) -> Self {
        Self {
            state: Line::default(),
            next: (0..=workers).map(|_| Line::default()).collect(),
            job: UnsafeCell::default(),
            asleep: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            spin: if workers < cores() { PATIENCE } else { SPIN },
            panic: Mutex::default(),
            waiting: Mutex::default(),
            left: Condvar::default(),
        }
    }

    /// The share of a thread, in parts.
    fn share(&self, thread: usize, all: usize) -> Range<usize> {
        part(all, thread, self.next.len())
    }

    /// Calls the function with tasks until none is left: first those of this thread's share, then those of the others'.
    fn take(&self, thread: usize, (all, parts): (usize, usize), function: &Function<'_>) {
        let threads = self.next.len();
        for thread in (thread..threads).chain(0..thread) {
            let end = self.share(thread, all).end;
            let count = |first: usize| {
                let (rest, whole) = (end - first, parts - first % parts);
                if rest >= 2 * parts { whole } else { whole.min(rest.div_ceil(2)) }
            };
            let after = |first: usize| (first < end).then(|| first + count(first));
            let (next, relaxed) = (&self.next[thread].0, Ordering::Relaxed);
            while let Ok(first) = next.fetch_update(relaxed, relaxed, after) {
                let begin = first % parts;
                function(first / parts, begin..begin + count(first));
            }
        }
    }

    /// Leaves no task.
    fn skip(&self) {
        for next in &self.next {
            next.0.store(isize::MAX as usize, Ordering::Relaxed);
        }
    }

    /// Lets nobody join any more, and waits for those who have.
    fn end(&self) {
        let state = &self.state.0;
        let is_over = |state: u64| state & WORKERS == 0;
        if is_over(state.fetch_and(!OPEN, Ordering::Acquire))
            || self.wait_for(|| is_over(state.load(Ordering::Acquire)))
        {
            return;
        }
        let mut guard = lock(&self.waiting);
        // The worker that leaves last and sees the flag takes the lock, and so comes after the sleep begins.
        let mut now = state.fetch_or(WAITED, Ordering::Acquire);
        while !is_over(now) {
            guard = self.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
            now = state.load(Ordering::Acquire);
        }
    }

    /// The life of a worker.
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            let found =
                |state: u64| state & ENDED != 0 || state & OPEN != 0 && state & NUMBER != seen;
            if !self.wait_for(|| found(self.state.0.load(Ordering::Relaxed))) {
                let asleep = &self.asleep[worker];
                asleep.store(true, Ordering::SeqCst);
                if !found(self.state.0.load(Ordering::SeqCst)) {
                    thread::park();
                }
                asleep.store(false, Ordering::Relaxed);
            }
            let state = self.state.0.load(Ordering::Relaxed);
            if state & ENDED != 0 {
                return;
            }
            if found(state) && self.join(state) {
                seen = state & NUMBER;
                self.help(worker + 1);
                self.leave();
            }
        }
    }

    /// Waits for a short time, and says whether it is ready.
    fn wait_for(&self, ready: impl Fn() -> bool) -> bool {
        if ready() {
            return true;
        }
        let begun = Instant::now();
        loop {
            for _ in 0..16 {
                std::hint::spin_loop();
                if ready() {
                    return true;
                }
            }
            let waited = begun.elapsed();
            if waited > PATIENCE {
                return false;
            }
            if waited > self.spin {
                thread::yield_now();
            }
        }
    }

    fn join(&self, state: u64) -> bool {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        self.state.0.compare_exchange(state, state + 1, acquire, relaxed).is_ok()
    }

    fn help(&self, thread: usize) {
        // SAFETY: this worker has joined the job, so that nobody writes to it.
        let Some(Job { function, parts }) = (unsafe { *self.job.get() }) else { return };
        // SAFETY: the caller waits for this worker before the function goes.
        let function = unsafe { &*function };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.take(thread, parts, function))) {
            self.skip();
            *lock(&self.panic) = Some(panic);
        }
    }

    fn leave(&self) {
        let before = self.state.0.fetch_sub(1, Ordering::Release);
        if before & WAITED != 0 && before & WORKERS == 1 {
            drop(lock(&self.waiting));
            self.left.notify_all();
        }
    }
}

/// Part `index` of `count` things that are divided into nearly equal parts.
pub(super) fn part(count: usize, index: usize, parts: usize) -> Range<usize> {
    // As `index * count / parts`, which might overflow.
    let begin = |index: usize| count / parts * index + (count % parts).min(index);
    begin(index)..begin(index + 1)
}

/// The rows of some of a task's parts, which begin with whole tiles.
pub(super) fn rows_of(
    rows: &Range<usize>,
    tile: usize,
    parts: usize,
    some: &Range<usize>,
) -> Range<usize> {
    let tiles = rows.len().div_ceil(tile);
    let begin = |at: usize| (rows.start + part(tiles, at, parts).start * tile).min(rows.end);
    begin(some.start)..begin(some.end)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- the pool of the process

static SHARED: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

impl Pool {
    /// The pool of this process, which begins with as many threads as `OMP_NUM_THREADS` says, or else the machine has
    /// cores for the process.
    pub fn shared() -> Arc<Self> {
        let mut shared = shared();
        match &*shared {
            Some(pool) if pool.forks == forks() => Arc::clone(pool),
            other => {
                let threads = other.as_ref().map_or_else(usual, |pool| pool.threads());
                let pool = Arc::new(Self::new(threads));
                *shared = Some(Arc::clone(&pool));
                pool
            }
        }
    }

    /// Gives the pool of this process another number of threads.
    pub fn set_threads(threads: usize) {
        let mut shared = shared();
        if shared.as_ref().is_none_or(|pool| pool.threads() != threads) {
            *shared = Some(Arc::new(Self::new(threads)));
        }
    }
}

fn usual() -> usize {
    let named = std::env::var("OMP_NUM_THREADS").ok();
    // OpenMP allows a number for each level of nesting.
    let named = named.and_then(|text| text.split(',').next()?.trim().parse().ok());
    named.filter(|&threads| threads > 0).unwrap_or_else(cores)
}

/// The cores that the process may use.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn shared() -> MutexGuard<'static, Option<Arc<Pool>>> {
    // A fork then never finds the pool locked by a thread that the child does not have.
    fork::watch();
    lock(&SHARED)
}

/// The number of times that this process and those before it were forked since somebody first asked. (A system call for the number of the
/// process would cost more than all else in a step.)
fn forks() -> usize {
    fork::watch();
    fork::COUNT.load(Ordering::Relaxed)
}

mod fork {
    use super::{Arc, AtomicUsize, MutexGuard, Ordering, Pool, SHARED, lock};
    use std::cell::RefCell;
    use std::sync::Once;

    pub(super) static COUNT: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static HELD: RefCell<Option<MutexGuard<'static, Option<Arc<Pool>>>>> = const { RefCell::new(None) };
    }

    pub(super) fn watch() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            #[cfg(unix)]
            // SAFETY: the handlers do not unwind, and live as long as the process.
            unsafe {
                libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child));
            }
        });
    }

    extern "C" fn before() {
        let _ = HELD.try_with(|held| held.replace(Some(lock(&SHARED))));
    }

    extern "C" fn in_parent() {
        let _ = HELD.try_with(RefCell::take);
    }

    extern "C" fn in_child() {
        COUNT.fetch_add(1, Ordering::Relaxed);
        in_parent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pool: &Pool, tasks: usize) -> usize {
        let count = AtomicUsize::new(0);
        pool.run(tasks, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        count.into_inner()
    }

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 5, 100] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|task| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn every_part_runs_once_and_the_last_tasks_are_divided() {
        for (threads, tasks, parts) in
            [(1, 5, 3), (2, 8, 4), (2, 1, 4), (3, 7, 8), (7, 2, 5), (2, 3, 0)]
        {
            let calls = Mutex::new(Vec::new());
            Pool::new(threads)
                .divide((tasks, parts), &|task, some| lock(&calls).push((task, some)));
            let calls = calls.into_inner().unwrap();
            let mut all: Vec<_> =
                calls.iter().flat_map(|(task, some)| some.clone().map(|at| (*task, at))).collect();
            all.sort_unstable();
            let each = (0..tasks).flat_map(|task| (0..parts).map(move |at| (task, at)));
            assert!(all.into_iter().eq(each), "{threads} threads, {tasks} tasks of {parts} parts");
            // Whichever thread takes a share, its last part is taken alone.
            let alone = calls.iter().filter(|(_, some)| some.len() == 1).count();
            assert!(threads == 1 || alone >= threads.min(tasks * parts), "{calls:?}");
            assert!(threads > 1 || calls.iter().all(|(_, some)| some.len() == parts));
        }
    }

    #[test]
    fn rows_of_parts_are_whole_tiles() {
        for (rows, tile, parts) in [(0..98, 6, 4), (7..8, 12, 1), (5..30, 12, 3), (3..3, 6, 2)] {
            let mut next = rows.start;
            for part in 0..parts {
                let some = rows_of(&rows, tile, parts, &(part..part + 1));
                assert_eq!(some.start, next);
                assert!(some.end == rows.end || some.len().is_multiple_of(tile));
                next = some.end;
            }
            assert_eq!(next, rows.end);
            assert_eq!(rows_of(&rows, tile, parts, &(0..parts)), rows);
        }
    }

    #[test]
    fn what_tasks_write_is_there_after_the_run() {
        let pool = Pool::new(4);
        let mut numbers = [0_usize; 8];
        for round in 1..5000 {
            let cells: Vec<Mutex<&mut usize>> = numbers.iter_mut().map(Mutex::new).collect();
            pool.run(cells.len(), &|task| **lock(&cells[task]) = round * task);
            drop(cells);
            assert!(numbers.iter().enumerate().all(|(task, number)| *number == round * task));
            // Workers sleep now and then.
            if round % 1000 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn many_callers_share_a_pool() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(10, &|task| {
                            total.fetch_add(task, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 8 * 200 * 45);
    }

    #[test]
    fn a_task_may_bring_tasks() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.run(5, &|_| {
            total.fetch_add(count(&pool, 7), Ordering::Relaxed);
        });
        assert_eq!(total.into_inner(), 35);
    }

    #[test]
    fn a_panic_of_a_task_reaches_the_caller_and_the_pool_stays() {
        let pool = Pool::new(3);
        for bad in 0..50 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(50, &|task| assert_ne!(task, bad, "planned"));
            }));
            let panic = result.unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("planned"));
            assert_eq!(count(&pool, 50), 50);
        }
    }

    #[test]
    fn a_thread_that_does_not_run_is_not_waited_for() {
        let (team, threads) = (Arc::new(Team::new(1)), vec![thread::current()]);
        let pool = Pool { taken: AtomicBool::new(false), team, threads, forks: forks() };
        assert_eq!(count(&pool, 50), 50);
    }

    #[test]
    fn a_caller_waits_for_a_long_task_of_another_thread() {
        let pool = Pool::new(2);
        let caller = thread::current().id();
        for _ in 0..20 {
            let ended = AtomicUsize::new(0);
            pool.run(2, &|_| {
                let pause = if thread::current().id() == caller { 1 } else { 3 };
                thread::sleep(Duration::from_millis(pause));
                ended.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(ended.into_inner(), 2);
        }
    }

    #[test]
    fn pools_come_and_go() {
        for threads in 1..50 {
            assert_eq!(count(&Pool::new(threads % 5), 20), 20);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_forked_child_has_a_pool_of_its_own() {
        let old = Arc::new(Pool::new(3));
        assert_eq!(count(&old, 20), 20);
        let busy = AtomicBool::new(true);
        thread::scope(|scope| {
            // Others use the pools while the process forks.
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    count(&Pool::shared(), 5);
                }
            });
            for _ in 0..20 {
                // SAFETY: the child uses nothing that another thread may have locked, and leaves by `_exit`.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // SAFETY: an alarm ends a child that hangs.
                    unsafe { libc::alarm(20) };
                    let right = count(&old, 20) == 20
                        && count(&Pool::shared(), 20) == 20
                        && Pool::shared().forks == forks();
                    drop(old);
                    // SAFETY: nothing of the parent's is to be cleaned up.
                    unsafe { libc::_exit(i32::from(!right)) };
                }
                let mut status = 0;
                // SAFETY: the child is this process's, and the address that of a number.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                assert_eq!(status, 0);
            }
            busy.store(false, Ordering::Relaxed);
        });
    }

    /// `cargo test --release --no-default-features --lib time_of_a_step -- --ignored --nocapture`
    #[test]
    #[ignore = "it measures"]
    #[allow(clippy::print_stdout, reason = "it measures")]
    fn time_of_a_step() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(threads);
            let mut times: Vec<f64> = (0..20_000)
                .map(|_| {
                    let begun = Instant::now();
                    pool.run(8, &|_| {});
                    begun.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[(times.len() as f64 * share) as usize];
            println!(
                "{threads} threads: mean {mean:.2} µs, median {:.2}, 9 of 10 within {:.2}, 99 of 100 within {:.2}",
                at(0.5),
                at(0.9),
                at(0.99),
            );
        }
    }
}
