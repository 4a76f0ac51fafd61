//! libtorch as the engine of a model.

use super::{Layout, Store, device, device_name, infer};
use crate::engine::{Array, Engine, Precision, View};
use crate::error::Result;
use crate::graph::{Graph, NodeId};

impl Engine for Store {
    fn device(&self) -> String {
        device_name(self.device())
    }

    fn to_device(&mut self, name: &str) -> Result<()> {
        self.to_device(device(name)?)
    }

    fn is_trained(&self, index: usize) -> bool {
        self.tensors()[index].requires_grad()
    }

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn changes(&self) -> u64 {
        self.changes()
    }

    fn stamp(&self) -> u64 {
        self.stamp()
    }

    fn duplicate(&self) -> Result<Box<dyn Engine>> {
        Ok(Box::new(self.duplicate()?))
    }

    fn is_prepared(&self) -> bool {
        self.layout() == Layout::ChannelsFirst
    }

    fn prepare(&mut self) -> Result<()> {
        self.lay_out(Layout::ChannelsFirst)
    }

    fn infer(
        &self,
        graph: &Graph,
        x: View<'_>,
        wanted: &[NodeId],
        precision: Precision,
    ) -> Result<Vec<Array>> {
        infer(graph, self, x, wanted, precision)
    }
}
