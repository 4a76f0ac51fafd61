//! Engines, which keep the parameters of a model and run its graph.

use std::any::Any;

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};
use crate::weights::{Parameters, PlainMemory};

/// Float32 values with their shape, row-major: inputs and outputs.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A borrowed [`Array`].
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub shape: &'a [usize],
    pub values: &'a [f32],
}

/// Numeric precision: float32, or mixed precision as with `torch.autocast("cpu", torch.bfloat16)`. Parameters, their
/// gradients and the loss are float32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    Float32,
    /// Convolutions and other matrix products cast inputs and weights to bfloat16; the rest computes in the type it
    /// gets.
    BFloat16,
    /// Native inference alone: convolutions and linear layers multiply integers of 8 bits.
    Int8,
}

impl Precision {
    /// That of training. Fails with `Error::Argument` unless it is `float32` or `bfloat16`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "float32" => Ok(Self::Float32),
            "bfloat16" => Ok(Self::BFloat16),
            _ => Err(Error::Argument {
                at: "`precision`".into(),
                expected: "\"float32\" or \"bfloat16\"".into(),
                got: format!("\"{text}\""),
            }),
        }
    }

    /// That of inference, which may be `int8` too. Fails with `Error::Argument` on other names.
    pub fn of_inference(text: &str) -> Result<Self> {
        if text == "int8" {
            return Ok(Self::Int8);
        }
        Self::parse(text).map_err(|_| Error::Argument {
            at: "`precision`".into(),
            expected: "\"float32\", \"bfloat16\" or \"int8\"".into(),
            got: format!("\"{text}\""),
        })
    }
}

/// The parameters of a model on a device, and runs of its graph with them.
pub trait Engine: Parameters + Any {
    /// The device: `cpu` or `cuda:N`.
    fn device(&self) -> String;

    /// Moves the parameters to another device.
    fn to_device(&mut self, device: &str) -> Result<()>;

    /// Whether the parameter at `index` is trained, and not frozen.
    fn is_trained(&self, index: usize) -> bool {
        self.parameters()[index].role.is_trained()
    }

    /// Fails where others who share the parameters have made something else of them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// A number that changes with every change of a value here.
    fn changes(&self) -> u64;

    /// A number that changes where others who share the parameters may have changed a value.
    fn stamp(&self) -> u64 {
        0
    }

    /// A copy with the same values.
    fn duplicate(&self) -> Result<Box<dyn Engine>>;

    /// Whether [`infer`](Self::infer) may run, or [`prepare`](Self::prepare) has to first.
    fn is_prepared(&self) -> bool {
        true
    }

    /// Lays the parameters out for inference.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Runs `graph` on `x` (N, C, H, W) and returns the values of `wanted`. Batch norm uses its running statistics.
    fn infer(
        &self,
        graph: &Graph,
        x: View<'_>,
        wanted: &[NodeId],
        precision: Precision,
    ) -> Result<Vec<Array>>;
}

/// Parameters that are loaded, saved and copied. The native engine runs them; they run nothing themselves.
impl Engine for PlainMemory {
    fn device(&self) -> String {
        CPU.into()
    }

    fn to_device(&mut self, device: &str) -> Result<()> {
        only_cpu(device)
    }

    fn changes(&self) -> u64 {
        self.changes()
    }

    fn duplicate(&self) -> Result<Box<dyn Engine>> {
        Ok(Box::new(self.duplicate()?))
    }

    fn infer(&self, graph: &Graph, _: View<'_>, _: &[NodeId], _: Precision) -> Result<Vec<Array>> {
        Err(Error::Device {
            device: CPU.into(),
            expected: format!("an engine that runs {} operator by operator", graph.name()),
            got: "parameters alone: cnnzoo was built without the feature `torch`".into(),
        })
    }
}

/// The device of plain memory.
pub const CPU: &str = "cpu";

/// Fails with `Error::Device` for any device but that of plain memory.
pub fn only_cpu(device: &str) -> Result<()> {
    if device == CPU {
        return Ok(());
    }
    Err(Error::Device {
        device: device.into(),
        expected: format!("`{CPU}`, without the feature `torch`"),
        got: format!("`{device}`"),
    })
}
