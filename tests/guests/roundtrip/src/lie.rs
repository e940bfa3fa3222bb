//! Batches and calls that break the contract, made without the SDK, which would not let them pass.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_sdk::Result;
use tidegate_sdk::arrow::schema::{DataType, Field, Schema, SchemaRef};
use tidegate_sdk::bindings::tidegate::connector::output::{self, Changes, Reject, SchemaParam, Writer};
use tidegate_sdk::bindings::tidegate::connector::types::{BatchParam, DataTypeParam, FieldParam, Node};

use crate::STREAM;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// A stream that was not asked for.
    OtherStream,
    /// The output opened twice.
    OpenTwice,
    /// The output opened again, after the first writer was given back.
    OpenAgain,
    /// Changes of rows, which no sink takes yet.
    Upsert,
    /// A field that is its own child.
    CyclicSchema,
    /// Two columns of one name.
    DuplicateColumn,
    /// Text that is not UTF-8.
    BadText,
    /// Offsets that go down.
    FallingOffsets,
    /// Offsets beyond the data.
    FarOffsets,
    /// Fewer bytes than the rows need.
    ShortBuffer,
    /// Fewer nodes than the schema has.
    MissingNode,
    /// One buffer too many.
    ExtraBuffer,
    /// A count of nulls that the bitmap does not have.
    WrongNullCount,
    /// More rows than there is memory.
    EndlessRows,
    /// A column longer than the batch.
    UnevenColumn,
    /// A batch of 72 MiB, all of it one and the same 8 MiB of memory.
    AliasedBatch,
    /// A checkpoint of 65 KiB.
    HugeCheckpoint,
    /// 70,000 rejects in one call.
    ManyRejects,
    /// Checkpoints without end.
    CheckpointFlood,
    /// Rejects without end, each with a reason of a megabyte.
    RejectFlood,
    /// An honest batch, and then one with a column more.
    ChangingSchema,
    /// A checkpoint before any row, which says that all of them came.
    FalseCheckpoint,
    /// Rows through a writer that was given back.
    ClosedWriter,
    /// Rows through a writer that there never was.
    InventedWriter,
    /// Rows, and an end without giving the writer back.
    KeptWriter,
    /// Batches without a row, ten thousand of them, and then a row.
    EmptyBatches,
}

/// What a liar says beforehand that there is: a column of texts.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]))
}

/// What an honest batch of two rows looks like: `ab` and `c`.
const NODES: [Node; 1] = [Node { length: 2, null_count: 0 }];
const OFFSETS: [u8; 12] = [0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
const DATA: &[u8] = b"abc";

impl Lie {
    pub(crate) fn tell(self) -> Result<()> {
        match self {
            Self::OtherStream => {
                open("another", &["text"], &[])?;
            }
            Self::OpenTwice => {
                let _first = open(STREAM, &["text"], &[])?;
                open(STREAM, &["text"], &[])?;
            }
            Self::OpenAgain => {
                drop(open(STREAM, &["text"], &[])?);
                open(STREAM, &["text"], &[])?;
            }
            Self::Upsert => {
                let schema = SchemaParam { fields: &[], roots: &[], metadata: &[] };
                output::open(STREAM, schema, Changes::Upsert(&["id"]))?;
            }
            Self::CyclicSchema => {
                open(STREAM, &["text"], &[0])?;
            }
            Self::DuplicateColumn => {
                open(STREAM, &["text", "text"], &[])?;
            }
            Self::AliasedBatch => {
                let writer = open(STREAM, &["a", "b", "c", "d", "e", "f", "g", "h", "i"], &[])?;
                let data = vec![b'x'; 8 << 20];
                let buffers = [&[], &OFFSETS[..], &data].repeat(9);
                writer.write(BatchParam {
                    rows: 2,
                    nodes: &NODES.repeat(9),
                    buffers: &buffers,
                    variadic: &[],
                })?;
            }
            Self::HugeCheckpoint => open(STREAM, &["text"], &[])?.checkpoint(&[0; 65 << 10])?,
            Self::ManyRejects => open(STREAM, &["text"], &[])?.reject(&rejects(70_000, "bad"))?,
            Self::CheckpointFlood => {
                let writer = open(STREAM, &["text"], &[])?;
                loop {
                    writer.checkpoint(&[0; 64 << 10])?;
                }
            }
            Self::RejectFlood => {
                let writer = open(STREAM, &["text"], &[])?;
                let reason = "x".repeat(1 << 20);
                loop {
                    writer.reject(&rejects(10, &reason))?;
                }
            }
            Self::FalseCheckpoint => open(STREAM, &["text"], &[])?.checkpoint(b"1000000")?,
            Self::ClosedWriter => {
                let writer = open(STREAM, &["text"], &[])?;
                let handle = writer.handle();
                drop(writer);
                honest(&again(handle))?;
            }
            Self::InventedWriter => honest(&again(4321))?,
            Self::KeptWriter => {
                let writer = open(STREAM, &["text"], &[])?;
                honest(&writer)?;
                std::mem::forget(writer);
            }
            Self::EmptyBatches => {
                let writer = open(STREAM, &["text"], &[])?;
                let none = [Node { length: 0, null_count: 0 }];
                for _ in 0..10_000 {
                    writer.write(BatchParam {
                        rows: 0,
                        nodes: &none,
                        buffers: &[&[], &[0; 4], &[]],
                        variadic: &[],
                    })?;
                }
                honest(&writer)?;
            }
            Self::ChangingSchema => {
                let writer = open(STREAM, &["text"], &[])?;
                honest(&writer)?;
                let buffers = [&[], &OFFSETS[..], DATA].repeat(2);
                writer.write(BatchParam {
                    rows: 2,
                    nodes: &NODES.repeat(2),
                    buffers: &buffers,
                    variadic: &[],
                })?;
            }
            _ => self.send(&open(STREAM, &["text"], &[])?)?,
        }
        Ok(())
    }

    fn send(self, writer: &Writer) -> Result<()> {
        let offsets = |last: [u8; 4]| [&OFFSETS[..8], &last].concat();
        let honest = [&[], &OFFSETS[..], DATA];
        let (nodes, buffers) = (&NODES[..], &honest[..]);
        let write = |rows, nodes: &[Node], buffers: &[&[u8]]| {
            writer.write(BatchParam { rows, nodes, buffers, variadic: &[] })
        };
        match self {
            Self::BadText => write(2, nodes, &[&[], &OFFSETS, b"\xff\xfe\xfd"]),
            Self::FallingOffsets => write(2, nodes, &[&[], &offsets([1, 0, 0, 0]), DATA]),
            Self::FarOffsets => write(2, nodes, &[&[], &offsets([255, 255, 255, 0]), DATA]),
            Self::ShortBuffer => write(2, nodes, &[&[], &OFFSETS[..8], DATA]),
            Self::MissingNode => write(2, &[], buffers),
            Self::ExtraBuffer => write(2, nodes, &[&[], &OFFSETS, DATA, DATA]),
            Self::WrongNullCount => {
                write(2, &[Node { length: 2, null_count: 1 }], &[&[0b11], &OFFSETS, DATA])
            }
            Self::EndlessRows => write(u64::MAX, &[Node { length: u64::MAX, null_count: 0 }], buffers),
            Self::UnevenColumn => write(1, nodes, buffers),
            _ => write(2, nodes, buffers),
        }?;
        Ok(())
    }
}

fn honest(writer: &Writer) -> Result<()> {
    Ok(writer.write(BatchParam { rows: 2, nodes: &NODES, buffers: &[&[], &OFFSETS, DATA], variadic: &[] })?)
}

/// A handle that is not ours.
#[expect(unsafe_code, reason = "that is the mischief")]
fn again(handle: u32) -> Writer {
    // SAFETY: a number; it is for the host to find out what it means.
    unsafe { Writer::from_handle(handle) }
}

fn rejects(count: usize, reason: &str) -> Vec<Reject<'_>> {
    (0..count as u64).map(|position| Reject { origin: "here", position, reason, raw: None }).collect()
}

fn open(stream: &str, columns: &[&str], children: &[u32]) -> Result<Writer> {
    let field =
        |name| FieldParam { name, data_type: DataTypeParam::Utf8, nullable: true, children, metadata: &[] };
    let fields: Vec<_> = columns.iter().copied().map(field).collect();
    let roots: Vec<u32> = (0..columns.len() as u32).collect();
    let schema = SchemaParam { fields: &fields, roots: &roots, metadata: &[] };
    Ok(output::open(stream, schema, Changes::Append)?)
}
