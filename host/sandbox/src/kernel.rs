//! `decode`: the host's own decoders, steered by a guest. The bytes never enter it.
//!
//! Decoding runs on blocking threads: it computes, and a decoder that breaks down there takes only its own
//! call with it.

mod parquet;
mod text;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidegate_model::Reject;
use tidegate_permission::{Action, Resource as Asset};
use wasmtime::component::Resource;

use crate::batches::BatchHandle;
use crate::bindings::decode::{self, Decoded, Format, Inferred};
use crate::bindings::types;
use crate::bytes::{ByteStream, on_thread};
use crate::files::{Object, Remote};
use crate::guest::Guest;
use crate::meter::Charge;
use crate::refusal::{Asked, Refusal};
use crate::schema;

use self::parquet::ParquetKernel;
use self::text::TextKernel;

const MIN_BATCH: u32 = 64 << 10;
const MAX_BATCH: u32 = 16 << 20;
const MAX_SAMPLE: u32 = 16 << 20;
/// Positions in one answer.
const MAX_CUTS: usize = 1 << 16;
/// What a decoder holds besides its stream: undecoded bytes and unfinished columns.
const HELD: u64 = 4 << 20;
/// Bytes of a row in which all is null: a record costs as much even if it says nothing.
const MAX_ROW_WIDTH: u64 = 64 << 10;

/// A guest's `decoder`.
pub struct Decoder {
    schema: SchemaRef,
    /// Absent while a blocking thread works with it.
    kernel: Option<Kernel>,
    _charges: [Charge; 2],
}

enum Kernel {
    Text(Box<TextKernel>),
    Parquet(Box<ParquetKernel>),
}

/// One batch of a kernel.
struct Piece {
    batch: RecordBatch,
    rejects: Vec<Reject>,
    position: u64,
}

impl Kernel {
    fn next(&mut self, max_bytes: usize) -> Asked<Option<Piece>> {
        match self {
            Self::Text(kernel) => kernel.next(max_bytes),
            Self::Parquet(kernel) => kernel.next(max_bytes),
        }
    }
}

/// What the bytes are is for whoever configured the source to mend.
fn content(origin: &str, message: impl std::fmt::Display) -> Refusal {
    Refusal::told(types::FaultDomain::User, "bad-content", format!("{origin}: {message}"))
}

fn broken() -> Refusal {
    Refusal::invalid("the decoder broke down before, and cannot go on")
}

/// A whole file, and what may be kept of it.
fn object(guest: &Guest, stream: &mut ByteStream) -> Asked<(Object, Charge)> {
    let object = stream
        .object
        .take()
        .ok_or_else(|| Refusal::invalid("Parquet is read from `files.open` without range and compression"))?;
    let held = if matches!(object, Object::Remote(_)) { Remote::HELD } else { 0 };
    Ok((object, guest.ledger().charge(held)?))
}

impl decode::Host for Guest {
    async fn infer(
        &mut self,
        source: Resource<ByteStream>,
        format: Format,
        max_bytes: u32,
    ) -> Asked<Inferred> {
        let mut stream = self.table.delete(source)?;
        self.ask(Action::DecodeUse, &Asset::Decoder)?;
        let origin = stream.origin.clone();
        if let Format::Parquet(_) = format {
            let (object, _charge) = object(self, &mut stream)?;
            return on_thread(move || parquet::infer(object, &origin)).await?;
        }
        let format = text::format(format)?;
        let max = max_bytes.clamp(1, MAX_SAMPLE) as usize;
        let _sample = self.ledger().charge(max as u64)?;
        let (reader, _charge) = stream.into_reader()?;
        on_thread(move || text::infer(reader, &format, max, &origin)).await?
    }

    async fn cuts(&mut self, source: Resource<ByteStream>, format: Format, every: u64) -> Asked<Vec<u64>> {
        let stream = self.table.delete(source)?;
        self.ask(Action::DecodeUse, &Asset::Decoder)?;
        if every < 1 << 20 {
            return Err(Refusal::invalid("`every` is at least 1 MiB"));
        }
        let format = text::format(format)?;
        let _scan = self.ledger().charge(HELD)?;
        let origin = stream.origin.clone();
        let (reader, _charge) = stream.into_reader()?;
        on_thread(move || text::cuts(reader, &format, every, MAX_CUTS, &origin)).await?
    }
}

impl decode::HostDecoder for Guest {
    async fn open(
        &mut self,
        source: Resource<ByteStream>,
        format: Format,
        wanted: Option<types::Schema>,
    ) -> Asked<Resource<Decoder>> {
        let mut stream = self.table.delete(source)?;
        self.ask(Action::DecodeUse, &Asset::Decoder)?;
        let wanted = wanted.map(schema::from_wit).transpose().map_err(Refusal::Ended)?;
        let held = self.ledger().charge(HELD)?;
        let origin = stream.origin.clone();
        let (schema, kernel, charge) = if let Format::Parquet(groups) = format {
            let (object, charge) = object(self, &mut stream)?;
            let kernel = on_thread(move || ParquetKernel::open(object, &groups, wanted, origin)).await??;
            (kernel.schema().clone(), Kernel::Parquet(Box::new(kernel)), charge)
        } else {
            let format = text::format(format)?;
            let start = stream.start;
            let (reader, charge) = stream.into_reader()?;
            let kernel =
                on_thread(move || TextKernel::open(reader, &format, wanted, start, origin)).await??;
            (kernel.schema().clone(), Kernel::Text(Box::new(kernel)), charge)
        };
        let width = tidegate_decode::row_width(schema.fields());
        if width > MAX_ROW_WIDTH {
            return Err(Refusal::limit(format!("a row of {width} bytes is wider than 64 KiB")));
        }
        let decoder = Decoder { schema, kernel: Some(kernel), _charges: [held, charge] };
        Ok(self.table.push(decoder)?)
    }

    async fn schema(&mut self, decoder: Resource<Decoder>) -> wasmtime::Result<types::Schema> {
        let schema = &self.table.get(&decoder)?.schema;
        schema::to_wit(schema).map_err(wasmtime::Error::new)
    }

    async fn next(&mut self, decoder: Resource<Decoder>, max_bytes: u32) -> Asked<Option<Decoded>> {
        let max = max_bytes.clamp(MIN_BATCH, MAX_BATCH);
        // Room for the batch before it is made; corrected to its size after.
        let working = self.ledger().charge(u64::from(max))?;
        let mut kernel = self.table.get_mut(&decoder)?.kernel.take().ok_or_else(broken)?;
        let (kernel, piece) = on_thread(move || {
            let piece = kernel.next(max as usize);
            (kernel, piece)
        })
        .await?;
        let Some(Piece { batch, rejects, position }) = piece? else {
            self.table.get_mut(&decoder)?.kernel = Some(kernel);
            return Ok(None);
        };
        self.table.get_mut(&decoder)?.kernel = Some(kernel);
        self.meter.progressed();
        drop(working);
        let text: usize = rejects.iter().map(Reject::size).sum();
        let size = (batch.get_array_memory_size() + text) as u64;
        let charge = self.ledger().charge(size)?;
        let (rows, rejected) = (batch.num_rows() as u64, rejects.len() as u64);
        let batch = self.table.push(BatchHandle { batch, rejects, size, _charge: charge })?;
        Ok(Some(Decoded { batch, rows, rejected, position }))
    }

    async fn drop(&mut self, decoder: Resource<Decoder>) -> wasmtime::Result<()> {
        self.table.delete(decoder)?;
        Ok(())
    }
}
