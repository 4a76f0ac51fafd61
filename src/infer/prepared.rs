//! A plan that is ready to run.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::peak::peak;
use super::plan::{Choices, Packed, Plan, Workspace, build};
use super::pool::Pool;
use super::simd::Instructions;
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, NodeId};
use crate::weights::Parameters;

/// A plan with memory for its runs.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    shape: Vec<usize>,
    wanted: Vec<NodeId>,
    precision: Precision,
    /// Memory that no run uses now.
    idle: Mutex<Vec<Workspace>>,
}

impl Prepared {
    /// Makes a graph ready for images of `shape` (N, C, H, W), with the parameters that it has now; runs return the values
    /// of `wanted`. The threads of the pool pack the weights that are not among `packed`.
    pub fn new(
        graph: &Graph,
        parameters: &dyn Parameters,
        shape: &[usize],
        wanted: &[NodeId],
        choices: &Choices,
        (packed, pool): (&mut Packed, &Pool),
    ) -> Result<Self> {
        let channels = graph.input().channels;
        let &[batch, c, height, width] = shape else { return Err(refused(graph, shape)) };
        if batch == 0 || c != channels {
            return Err(refused(graph, shape));
        }
        let size = (batch, height, width);
        let plan = build(graph, parameters, size, wanted, choices, (packed, pool))?;
        let (shape, wanted, precision) = (shape.to_vec(), wanted.to_vec(), choices.precision);
        Ok(Self { plan, shape, wanted, precision, idle: Mutex::default() })
    }

    /// Whether it is for images of this shape and this precision, and returns these values.
    pub fn fits(&self, shape: &[usize], wanted: &[NodeId], precision: Precision) -> bool {
        self.shape == shape && self.wanted == wanted && self.precision == precision
    }

    /// Runs the plan on images of its shape.
    pub fn run(&self, x: View<'_>, pool: &Pool) -> Result<Vec<Array>> {
        self.with_workspace(x, |workspace| self.plan.run(pool, workspace, x.values))
    }

    /// Runs the plan once, then `repeats` times, and takes the time of each step in further runs.
    pub fn time(&self, x: View<'_>, pool: &Pool, repeats: usize) -> Result<Times> {
        self.run(x, pool)?;
        // Before and after, since others may use the machine for some of the time.
        let most = || peak(pool, Instructions::best(), PEAK_TIME);
        let before = most();
        let count = self.plan.len();
        let (mut steps, mut runs) = (vec![Vec::with_capacity(repeats); count], Vec::new());
        for _ in 0..repeats {
            let begun = Instant::now();
            self.run(x, pool)?;
            runs.push(begun.elapsed());
            let times = self.step_times(x, pool)?;
            steps.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        }
        let peak = before.max(most());
        Ok(Times { steps: steps.into_iter().map(median).collect(), run: median(runs), peak })
    }

    /// Runs the plan once, on all threads in every step, and returns the time of each step.
    pub(super) fn step_times(&self, x: View<'_>, pool: &Pool) -> Result<Vec<Duration>> {
        let mut times = vec![Duration::ZERO; self.plan.len()];
        let mut last = Instant::now();
        self.with_workspace(x, |workspace| {
            self.plan.observed(pool, workspace, x.values, |step| {
                let now = Instant::now();
                times[step] += now - last;
                last = now;
            })
        })?;
        Ok(times)
    }

    fn with_workspace(
        &self,
        x: View<'_>,
        run: impl FnOnce(&mut Workspace) -> Result<Vec<Array>>,
    ) -> Result<Vec<Array>> {
        if x.shape != self.shape {
            return Err(Error::Shape {
                at: "the images of a plan".into(),
                expected: shape_text(&self.shape),
                got: shape_text(x.shape),
            });
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut workspace = match kept {
            Some(workspace) => workspace,
            None => self.plan.workspace()?,
        };
        let values = run(&mut workspace)?;
        idle().push(workspace);
        Ok(values)
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// The time in which the peak of the machine is measured, twice.
const PEAK_TIME: Duration = Duration::from_millis(30);

/// Times of several runs of a plan.
#[derive(Clone, Debug)]
pub struct Times {
    /// The median time of each step.
    pub steps: Vec<Duration>,
    /// The median time of a run.
    pub run: Duration,
    /// Floating-point operations per second that the same threads do at most.
    pub peak: f64,
}

pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let middle = times.len() / 2;
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    if times.len().is_multiple_of(2) {
        return (at(middle.saturating_sub(1)) + at(middle)) / 2;
    }
    at(middle)
}

fn refused(graph: &Graph, shape: &[usize]) -> Error {
    Error::Shape {
        at: format!("the input of {}", graph.name()),
        expected: format!("(N, {}, H, W) with N at least 1", graph.input().channels),
        got: shape_text(shape),
    }
}
