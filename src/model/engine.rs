//! The engine of a device: libtorch, or plain memory in a build without it.

use crate::engine::Engine;
use crate::error::Result;
use crate::graph::Graph;
use crate::weights::init::Recipe;

/// New parameters on a device. Fails with `Error::Device` where there is no such device.
pub(super) fn on(
    device: &str,
    graph: &Graph,
    recipe: Recipe,
    seed: u64,
) -> Result<Box<dyn Engine>> {
    #[cfg(feature = "torch")]
    {
        use crate::torch;
        let device = torch::device(device)?;
        Ok(Box::new(torch::Store::new(graph, recipe, seed, device)?))
    }
    #[cfg(not(feature = "torch"))]
    {
        crate::engine::only_cpu(device)?;
        Ok(Box::new(crate::weights::PlainMemory::new(graph, recipe, seed)?))
    }
}
