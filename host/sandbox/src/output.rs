//! The way out: from a guest's memory, or from a kernel, to whoever reads the split.
//!
//! Linked by hand, because generated bindings would copy every buffer twice: here a batch arrives as views of
//! the guest's memory, is checked there, and copied once.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use tidegate_model::{Code, Fault, Reject, StreamName};
use tidegate_permission::{Action, Resource as Asset};
use tokio::sync::{mpsc, watch};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, ResourceType, WasmList};

use crate::batch::{self, Raw};
use crate::batches::BatchHandle;
use crate::bindings::types;
use crate::guest::Guest;
use crate::refusal::{Asked, Refusal, clipped};
use crate::schema;

const INTERFACE: &str = "tidegate:connector/output@0.3.0";
const MAX_CHECKPOINT: usize = 64 << 10;
/// In one call.
const MAX_REJECTS: usize = 1 << 16;
const MAX_REJECT_BYTES: usize = 4 << 20;
const MAX_RAW: usize = 4096;

/// What a split gives, in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Once, before anything else.
    Open {
        schema: SchemaRef,
    },
    /// Rows of that schema, and the records that were set aside while they were decoded.
    Batch {
        batch: RecordBatch,
        rejects: Vec<Reject>,
    },
    Rejects(Vec<Reject>),
    /// All before this is complete; reading can go on from here.
    Checkpoint(Bytes),
}

/// Where the output of one split goes.
#[derive(Debug)]
pub struct OutputPort {
    pub stream: String,
    /// How many batches may wait in it is the backpressure.
    pub sender: mpsc::Sender<Output>,
    /// The newest checkpoint of this split that is committed in the sink.
    pub committed: watch::Receiver<Option<Bytes>>,
}

/// A guest's `writer`. What it writes to is the instance's outlet.
pub struct Writer {
    schema: SchemaRef,
    /// The columns that may go on, where a grant leaves some out.
    granted: Option<Vec<usize>>,
}

pub(crate) struct Outlet {
    port: OutputPort,
    opened: bool,
}

impl Outlet {
    pub(crate) fn new(port: OutputPort) -> Self {
        Self { port, opened: false }
    }
}

/// A batch as the contract has it, left where it is.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Batch {
    rows: u64,
    nodes: Vec<types::Node>,
    buffers: WasmList<WasmList<u8>>,
    variadic: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct GuestReject {
    origin: String,
    position: u64,
    reason: String,
    raw: Option<String>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Changes {
    #[component(name = "append")]
    Append,
    #[component(name = "upsert")]
    #[expect(dead_code, reason = "refused whatever the key is")]
    Upsert(Vec<String>),
}

type Store<'a> = StoreContextMut<'a, Guest>;
type Answer<T> = wasmtime::Result<(std::result::Result<T, types::Fault>,)>;

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut at = linker.instance(INTERFACE)?;
    at.resource("batch-handle", ResourceType::host::<BatchHandle>(), |mut store, rep| {
        store.data_mut().counted().table.delete(Resource::<BatchHandle>::new_own(rep))?;
        Ok(())
    })?;
    at.resource("writer", ResourceType::host::<Writer>(), |mut store, rep| {
        store.data_mut().counted().table.delete(Resource::<Writer>::new_own(rep))?;
        Ok(())
    })?;
    at.func_wrap_async("open", |store: Store<'_>, (stream, schema, changes)| {
        Box::new(async move { answer(open(store, stream, schema, changes).await) })
    })?;
    at.func_wrap_async("[method]writer.write", |store: Store<'_>, (writer, batch)| {
        Box::new(async move { answer(write(store, writer, batch).await) })
    })?;
    at.func_wrap_async("[method]writer.write-handle", |store: Store<'_>, (writer, handle)| {
        Box::new(async move { answer(write_handle(store, writer, handle).await) })
    })?;
    at.func_wrap_async("[method]writer.reject", |store: Store<'_>, (writer, records)| {
        Box::new(async move { answer(reject(store, writer, records).await) })
    })?;
    at.func_wrap_async("[method]writer.checkpoint", |store: Store<'_>, (writer, state)| {
        Box::new(async move { answer(checkpoint(store, writer, state).await) })
    })?;
    at.func_wrap("[method]writer.committed", |mut store: Store<'_>, (writer,)| {
        committed(store.data_mut().counted(), &writer)
    })?;
    Ok(())
}

fn answer<T>(asked: Asked<T>) -> Answer<T> {
    match asked {
        Ok(value) => Ok((Ok(value),)),
        Err(Refusal::Told(fault)) => Ok((Err(fault),)),
        Err(Refusal::Ended(fault)) => Err(wasmtime::Error::new(fault)),
    }
}

async fn open(
    mut store: Store<'_>,
    stream: String,
    schema: types::Schema,
    changes: Changes,
) -> Asked<Resource<Writer>> {
    let guest = store.data_mut().counted();
    let Some(outlet) = &mut guest.outlet else {
        return Err(Refusal::invalid("`output.open` belongs to `read`"));
    };
    if outlet.opened {
        return Err(Refusal::invalid("`output.open` was called already"));
    }
    if stream != outlet.port.stream {
        let asked = &outlet.port.stream;
        return Err(Refusal::invalid(format!("`{asked}` is read, not `{}`", clipped(&stream, 200))));
    }
    if let Changes::Upsert(_) = changes {
        return Err(Refusal::told(
            types::FaultDomain::User,
            "unsupported",
            "this version of Tidegate writes new rows only; `upsert` is not there yet",
        ));
    }
    let schema = schema::from_wit(schema).map_err(Refusal::Ended)?;
    outlet.opened = true;
    let granted = granted(guest, &stream, &schema)?;
    let passed_on = match &granted {
        None => schema.clone(),
        Some(columns) => Arc::new(schema.project(columns).map_err(|error| {
            Refusal::Ended(Fault::internal(Code::Bug, format!("columns cannot be left out: {error}")))
        })?),
    };
    let writer = guest.table.push(Writer { schema, granted })?;
    send(guest, Output::Open { schema: passed_on }).await?;
    Ok(writer)
}

/// The columns that may go on, by position; none where all may.
fn granted(guest: &Guest, stream: &str, schema: &SchemaRef) -> Asked<Option<Vec<usize>>> {
    let authorizer = &guest.around.setup().authorizer;
    let Some(stream) = StreamName::new(stream).ok().filter(|stream| authorizer.limits_columns(stream)) else {
        return Ok(None);
    };
    let mut granted = Vec::new();
    for (position, field) in schema.fields().iter().enumerate() {
        let column = Asset::Column { stream: stream.clone(), column: field.name().clone() };
        match guest.ask(Action::ColumnRead, &column) {
            Ok(()) => granted.push(position),
            // Left out, and on record: the connector need not know.
            Err(Refusal::Told(_)) => {}
            Err(ended) => return Err(ended),
        }
    }
    Ok(Some(granted))
}

async fn write(mut store: Store<'_>, writer: Resource<Writer>, batch: Batch) -> Asked<()> {
    let schema = store.data_mut().counted().table.get(&writer)?.schema.clone();
    let built = {
        if batch.buffers.len() > batch::MAX_BUFFERS {
            return Err(Refusal::Ended(Fault::internal(
                Code::BadBatch,
                format!("the connector sent a batch of {} buffers", batch.buffers.len()),
            )));
        }
        let views = batch.buffers.iter(&mut store)?.collect::<wasmtime::Result<Vec<_>>>()?;
        let buffers: Vec<&[u8]> = views.iter().map(|view| view.as_le_slice(&store)).collect();
        let raw = Raw { rows: batch.rows, nodes: &batch.nodes, buffers: &buffers, variadic: &batch.variadic };
        // Invariant 5: the one copy.
        // Copying and validating may take a while: the runtime's other tasks go on meanwhile.
        tokio::task::block_in_place(|| batch::assemble(&schema, &raw)).map_err(Refusal::Ended)?
    };
    let guest = store.data_mut();
    let granted = guest.table.get(&writer)?.granted.clone();
    deliver(guest, built, Vec::new(), granted).await
}

/// Invariant 5: a kernel's batch is the host's own already, and goes on without a copy.
async fn write_handle(
    mut store: Store<'_>,
    writer: Resource<Writer>,
    handle: Resource<BatchHandle>,
) -> Asked<()> {
    let guest = store.data_mut().counted();
    let BatchHandle { batch, rejects, .. } = guest.table.delete(handle)?;
    let Writer { schema, granted } = guest.table.get(&writer)?;
    let granted = granted.clone();
    let batch =
        if batch.schema_ref() == schema { batch } else { fitted(batch, schema).map_err(Refusal::Ended)? };
    deliver(guest, batch, rejects, granted).await
}

/// A decoded batch under the schema that was announced: its columns must be the same, names of nested fields
/// and metadata may differ.
fn fitted(batch: RecordBatch, schema: &SchemaRef) -> tidegate_model::Result<RecordBatch> {
    let rows = batch.num_rows();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let (_, columns, _) = batch.into_parts();
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| {
        Fault::internal(
            Code::BadBatch,
            format!("the connector passed on a batch that does not fit its schema: {error}"),
        )
    })
}

async fn reject(mut store: Store<'_>, writer: Resource<Writer>, records: Vec<GuestReject>) -> Asked<()> {
    let guest = store.data_mut().counted();
    let narrowed = guest.table.get(&writer)?.granted.is_some();
    if records.len() > MAX_REJECTS {
        return Err(Refusal::limit(format!(
            "{} rejects in one call are more than {MAX_REJECTS}",
            records.len()
        )));
    }
    if records.is_empty() {
        return Ok(());
    }
    let mut rejects: Vec<Reject> = records.into_iter().map(Reject::from).collect();
    if narrowed {
        without_text(&mut rejects);
    }
    let bytes: usize = rejects.iter().map(Reject::size).sum();
    if bytes > MAX_REJECT_BYTES {
        return Err(Refusal::limit(format!("{bytes} bytes of rejects in one call are more than 4 MiB")));
    }
    guest.meter.moved(bytes as u64, 0);
    send(guest, Output::Rejects(rejects)).await
}

async fn checkpoint(mut store: Store<'_>, writer: Resource<Writer>, state: Vec<u8>) -> Asked<()> {
    let guest = store.data_mut().counted();
    guest.table.get(&writer)?;
    if state.len() > MAX_CHECKPOINT {
        return Err(Refusal::limit(format!("a checkpoint of {} bytes is larger than 64 KiB", state.len())));
    }
    guest.meter.moved(state.len() as u64, 0);
    send(guest, Output::Checkpoint(state.into())).await
}

fn committed(guest: &mut Guest, writer: &Resource<Writer>) -> wasmtime::Result<(Option<Vec<u8>>,)> {
    guest.table.get(writer)?;
    let committed = guest.outlet.as_ref().and_then(|outlet| outlet.port.committed.borrow().clone());
    Ok((committed.map(Vec::from),))
}

/// A record's own text has all of its columns, and the reason may quote one.
fn without_text(rejects: &mut [Reject]) {
    for reject in rejects {
        reject.raw = None;
        reject.reason = "it cannot be decoded; why is not told where columns were not granted".to_owned();
    }
}

async fn deliver(
    guest: &mut Guest,
    mut batch: RecordBatch,
    mut rejects: Vec<Reject>,
    granted: Option<Vec<usize>>,
) -> Asked<()> {
    if let Some(columns) = granted {
        batch = batch.project(&columns).map_err(|error| {
            Refusal::Ended(Fault::internal(Code::Bug, format!("columns cannot be left out: {error}")))
        })?;
        without_text(&mut rejects);
    }
    let (bytes, rows) = (batch.get_array_memory_size() as u64, batch.num_rows() as u64);
    guest.meter.moved(bytes, rows);
    match (rows, rejects.is_empty()) {
        (0, true) => Ok(()),
        (0, false) => send(guest, Output::Rejects(rejects)).await,
        _ => send(guest, Output::Batch { batch, rejects }).await,
    }
}

/// Waits for room. No clock of the instance runs meanwhile: a slow sink is not its fault.
async fn send(guest: &mut Guest, output: Output) -> Asked<()> {
    let Some(outlet) = &guest.outlet else {
        return Err(Refusal::invalid("there is no output"));
    };
    guest.meter.waits_for_output(true);
    let sent = outlet.port.sender.send(output).await;
    guest.meter.waits_for_output(false);
    // Nobody reads this split any more, so there is no point in going on.
    sent.map_err(|_| {
        Refusal::Ended(Fault::external(Code::Cancelled, "the reading of this split was cancelled"))
    })
}

impl From<GuestReject> for Reject {
    fn from(reject: GuestReject) -> Self {
        Self {
            origin: clipped(&reject.origin, MAX_RAW),
            position: reject.position,
            reason: clipped(&reject.reason, MAX_RAW),
            raw: reject.raw.map(|raw| clipped(&raw, MAX_RAW)),
        }
    }
}
