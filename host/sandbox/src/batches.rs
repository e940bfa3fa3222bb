//! Batches that stay in the host.

use arrow::array::RecordBatch;
use tidegate_model::Reject;
use wasmtime::component::Resource;

use crate::bindings::batches;
use crate::guest::Guest;
use crate::meter::Charge;

/// A guest's `batch-handle`: what a kernel decoded, with the records it set aside.
pub struct BatchHandle {
    pub(crate) batch: RecordBatch,
    pub(crate) rejects: Vec<Reject>,
    /// Bytes in memory.
    pub(crate) size: u64,
    pub(crate) _charge: Charge,
}

impl batches::Host for Guest {}

impl batches::HostBatchHandle for Guest {
    async fn rows(&mut self, handle: Resource<BatchHandle>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&handle)?.batch.num_rows() as u64)
    }

    async fn size(&mut self, handle: Resource<BatchHandle>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&handle)?.size)
    }

    async fn drop(&mut self, handle: Resource<BatchHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
