//! From nodes and buffers to Arrow's arrays.

use std::fmt::Display;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::Buffer;
use arrow_data::{ArrayData, layout};
use arrow_schema::{DataType, Schema};

use crate::batch::{Layout, Node};
use crate::{Fault, Result};

/// Builds the batch that a layout describes. Every array is checked as Arrow checks it: lengths, offsets,
/// indices, UTF-8.
pub fn lift(schema: &Arc<Schema>, parts: Layout) -> Result<RecordBatch> {
    let Layout { rows, nodes, buffers, variadic } = parts;
    let mut parts =
        Parts { nodes: nodes.into_iter(), buffers: buffers.into_iter(), variadic: variadic.into_iter() };
    let columns = schema
        .fields()
        .iter()
        .map(|field| Ok(make_array(parts.array(field.data_type())?)))
        .collect::<Result<Vec<_>>>()?;
    if parts.nodes.next().is_some() || parts.buffers.next().is_some() || parts.variadic.next().is_some() {
        return Err(malformed("more nodes or buffers than the schema has places for"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(malformed)
}

struct Parts {
    nodes: std::vec::IntoIter<Node>,
    buffers: std::vec::IntoIter<Buffer>,
    variadic: std::vec::IntoIter<u32>,
}

impl Parts {
    fn array(&mut self, data_type: &DataType) -> Result<ArrayData> {
        let node = self.nodes.next().ok_or_else(|| malformed("too few nodes"))?;
        let length = usize::try_from(node.length).map_err(malformed)?;
        let mut builder = ArrayData::builder(data_type.clone()).len(length);
        if data_type == &DataType::Null {
            return builder.build().map_err(malformed);
        }
        let validity = self.buffer()?;
        if node.null_count > 0 {
            builder = builder.null_bit_buffer(Some(validity));
        }
        let shape = layout(data_type);
        let mut count = shape.buffers.len();
        if shape.variadic {
            count +=
                self.variadic.next().ok_or_else(|| malformed("too few counts of data buffers"))? as usize;
        }
        for _ in 0..count {
            builder = builder.add_buffer(self.buffer()?);
        }
        for child in children(data_type) {
            builder = builder.add_child_data(self.array(child)?);
        }
        builder.align_buffers(true).build().map_err(malformed)
    }

    fn buffer(&mut self) -> Result<Buffer> {
        self.buffers.next().ok_or_else(|| malformed("too few buffers"))
    }
}

fn children(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Dictionary(_, values) => vec![values],
        _ => Vec::new(),
    }
}

fn malformed(reason: impl Display) -> Fault {
    Fault::internal("invalid", format!("malformed batch: {reason}"))
}
