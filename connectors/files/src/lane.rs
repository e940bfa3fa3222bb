//! Where bytes become rows: in the host, by its kernels, or here. Both give the same rows at the same
//! positions.

use tidegate_decode::{Decoder, ErrorKind, Format, Inferred};
use tidegate_sdk::{ByteStream, Compression, Context, Fault, OpenOptions, Output, Reject, Result, decode};

use arrow_schema::SchemaRef;

use crate::config::{Config, Lane};
use crate::listing::{File, Kind};

/// Bytes in memory of a batch.
const BATCH: u32 = 4 << 20;
/// Bytes asked for at a time, where they come into the component.
const CHUNK: u32 = 1 << 20;
/// A first record is not longer than this.
const FIRST_RECORD: u64 = 1 << 20;

pub struct Sample {
    pub inferred: Inferred,
    /// Parquet: rows of each row group.
    pub row_groups: Vec<u64>,
}

/// A file's schema, from its first `max_bytes` or its footer.
pub fn infer(cx: &Context<Config>, file: &File, max_bytes: u32) -> Result<Sample> {
    let mut stream = open(cx, file, None)?;
    if cx.config.lane == Lane::Kernel {
        let format = kernel_format(&file.kind, &[]);
        let found = decode::infer(stream, &format, max_bytes)?;
        let inferred = Inferred { schema: found.schema, rows: found.rows, notes: found.notes };
        return Ok(Sample { inferred, row_groups: found.row_groups });
    }
    let format = guest_format(&file.kind)?;
    let (sample, complete) = beginning(&mut stream, max_bytes as usize)?;
    let inferred =
        tidegate_decode::infer(&format, &sample, complete).map_err(|error| fault(cx, file, &error))?;
    Ok(Sample { inferred, row_groups: Vec::new() })
}

/// Where a plain text file can be cut, about every so many bytes.
pub fn cuts(cx: &Context<Config>, file: &File, every: u64) -> Result<Vec<u64>> {
    let mut stream = open(cx, file, None)?;
    if cx.config.lane == Lane::Kernel {
        return decode::cuts(stream, &kernel_format(&file.kind, &[]), every);
    }
    let mut cuts = tidegate_decode::Cuts::new(&guest_format(&file.kind)?, every)
        .map_err(|error| fault(cx, file, &error))?;
    while let Some(bytes) = stream.next(CHUNK)? {
        cuts.feed(&bytes);
    }
    Ok(cuts.finish())
}

/// The names of a CSV file's columns, for reading it from the middle.
pub fn column_names(cx: &Context<Config>, file: &File) -> Result<Vec<String>> {
    let Kind::Csv(options) = &file.kind else { return Ok(Vec::new()) };
    let mut stream = open(cx, file, None)?;
    let (sample, complete) = beginning(&mut stream, FIRST_RECORD as usize)?;
    tidegate_decode::column_names(options, &sample, complete).map_err(|error| fault(cx, file, &error))
}

fn beginning(stream: &mut ByteStream, most: usize) -> Result<(Vec<u8>, bool)> {
    let mut sample = Vec::new();
    while sample.len() < most {
        match stream.next((most - sample.len()).min(CHUNK as usize) as u32)? {
            Some(bytes) => sample.extend_from_slice(&bytes),
            None => return Ok((sample, true)),
        }
    }
    Ok((sample, false))
}

fn open(cx: &Context<Config>, file: &File, range: Option<(u64, u64)>) -> Result<ByteStream> {
    let compression = if range.is_some() { Compression::None } else { file.wire_compression() };
    cx.files().open_with(&cx.config.location, &file.path, OpenOptions { range, compression })
}

/// Part of a file.
pub struct Part<'a> {
    pub file: &'a File,
    /// Bytes, for plain text.
    pub range: Option<(u64, u64)>,
    /// For Parquet; all when empty.
    pub row_groups: &'a [u32],
}

/// Batches of one part.
pub enum Reader {
    Kernel(decode::Decoder),
    Guest(Box<Guest>),
}

pub struct Guest {
    decoder: Decoder,
    stream: ByteStream,
    ended: bool,
    origin: String,
    /// Where in the file the stream begins.
    start: u64,
}

impl Reader {
    pub fn open(cx: &Context<Config>, part: &Part, schema: &SchemaRef) -> Result<Self> {
        let start = part.range.map_or(0, |(start, _)| start);
        let mut kind = part.file.kind.clone();
        if let Kind::Csv(options) = &mut kind
            && (start > 0 || !options.header)
        {
            options.columns = column_names(cx, part.file)?;
            options.header = false;
        }
        let stream = open(cx, part.file, part.range)?;
        if cx.config.lane == Lane::Kernel {
            let format = kernel_format(&kind, part.row_groups);
            return Ok(Self::Kernel(decode::Decoder::open(stream, &format, Some(schema))?));
        }
        let decoder = Decoder::new(&guest_format(&kind)?, schema.clone())
            .map_err(|error| fault(cx, part.file, &error))?;
        let origin = part.file.label(&cx.config.location);
        Ok(Self::Guest(Box::new(Guest { decoder, stream, ended: false, origin, start })))
    }

    /// The next batch, and where in the part the next record starts.
    pub fn next(&mut self) -> Result<Option<(Batch, u64)>> {
        match self {
            Self::Kernel(decoder) => Ok(decoder.next(BATCH)?.map(|decoded| {
                let position = decoded.position;
                (Batch::Handle(decoded), position)
            })),
            Self::Guest(guest) => guest.next(),
        }
    }
}

impl Guest {
    fn next(&mut self) -> Result<Option<(Batch, u64)>> {
        loop {
            if let Some(decoded) =
                self.decoder.next(BATCH as usize).map_err(|error| of_file(&self.origin, &error))?
            {
                let rejects = decoded.rejects.into_iter().map(|reject| Reject {
                    origin: self.origin.clone(),
                    position: if self.start == 0 { reject.line } else { self.start + reject.byte },
                    reason: reject.reason,
                    raw: Some(reject.raw),
                });
                let batch = Batch::Here { rows: decoded.batch, rejects: rejects.collect() };
                return Ok(Some((batch, decoded.position)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.stream.next(CHUNK)? {
                Some(bytes) => self.decoder.feed(&bytes),
                None => {
                    self.decoder.finish();
                    self.ended = true;
                }
            }
        }
    }
}

pub enum Batch {
    Handle(decode::Decoded),
    Here { rows: arrow_array::RecordBatch, rejects: Vec<Reject> },
}

impl Batch {
    pub fn write(self, out: &mut Output) -> Result<()> {
        match self {
            Self::Handle(decoded) => out.write_decoded(decoded),
            Self::Here { rows, rejects } => {
                if !rejects.is_empty() {
                    out.reject(&rejects)?;
                }
                if rows.num_rows() > 0 { out.write(&rows) } else { Ok(()) }
            }
        }
    }
}

fn kernel_format(kind: &Kind, row_groups: &[u32]) -> decode::Format {
    match kind {
        Kind::Csv(options) => decode::Format::Csv(decode::CsvOptions {
            delimiter: char::from(options.delimiter),
            header: options.header,
            columns: options.columns.clone(),
            null_tokens: options.null_tokens.clone(),
        }),
        Kind::Ndjson => decode::Format::Ndjson,
        Kind::Json(pointer) => decode::Format::Json(pointer.clone()),
        Kind::Parquet => decode::Format::Parquet(row_groups.to_vec()),
    }
}

fn guest_format(kind: &Kind) -> Result<Format> {
    Ok(match kind {
        Kind::Csv(options) => Format::Csv(options.clone()),
        Kind::Ndjson => Format::Ndjson,
        Kind::Json(pointer) => Format::Json { pointer: pointer.clone() },
        Kind::Parquet => return Err(no_parquet("it")),
    })
}

/// Says before anything is opened that a lane cannot read a file. `name` is the file's.
pub fn check(lane: Lane, kind: &Kind, name: &str) -> Result<()> {
    if lane == Lane::Guest && *kind == Kind::Parquet { Err(no_parquet(&format!("`{name}`"))) } else { Ok(()) }
}

fn no_parquet(what: &str) -> Fault {
    Fault::user(
        "unsupported",
        format!(
            "{what} is a Parquet file, and `lane: guest` reads none: only the host's kernels decode Parquet. Leave out \
             `lane`, or say with `glob` which other files to read"
        ),
    )
}

fn fault(cx: &Context<Config>, file: &File, error: &tidegate_decode::Error) -> Fault {
    of_file(&file.label(&cx.config.location), error)
}

/// The kernels' faults name the file; so do ours.
fn of_file(label: &str, error: &tidegate_decode::Error) -> Fault {
    let message = format!("{label}: {}", error.message);
    match error.kind {
        ErrorKind::Options | ErrorKind::Content => Fault::user("invalid", message),
        ErrorKind::Internal => Fault::internal("invalid", message),
    }
}
