//! Record batches as the contract lays them out.

mod lift;
mod lower;

use arrow_buffer::Buffer;

pub use lift::lift;
pub use lower::lower;

use crate::bindings::tidegate::connector::types as wit;
pub use wit::Node;

/// A batch's nodes and buffers, depth first. The buffers share the arrays' memory, but for slices
/// that do not start at a byte.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    pub rows: usize,
    pub nodes: Vec<Node>,
    pub buffers: Vec<Buffer>,
    /// For each node of a view type, in order, how many data buffers it has.
    pub variadic: Vec<u32>,
}

impl Layout {
    /// Bytes of all buffers: what crosses.
    pub fn size(&self) -> usize {
        self.buffers.iter().map(Buffer::len).sum()
    }

    /// Passes the batch to an imported function, which wants it borrowed.
    pub(crate) fn borrowed<T>(&self, call: impl FnOnce(wit::BatchParam<'_>) -> T) -> T {
        let buffers: Vec<&[u8]> = self.buffers.iter().map(Buffer::as_slice).collect();
        call(wit::BatchParam {
            rows: self.rows as u64,
            nodes: &self.nodes,
            buffers: &buffers,
            variadic: &self.variadic,
        })
    }
}
