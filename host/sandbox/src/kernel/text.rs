//! CSV and JSON: `tidegate-decode` run natively, on whatever a stream gives.

use arrow::datatypes::SchemaRef;
use tidegate_decode as decode;
use tidegate_model::Reject;

use super::{Piece, content};
use crate::bindings::decode::{Format, Inferred};
use crate::bytes::{Reader, fill};
use crate::refusal::{Asked, Refusal};
use crate::schema;

/// Bytes read at a time.
const CHUNK: usize = 512 << 10;
/// What a schema is inferred from when nobody gave one.
const SAMPLE: usize = 1 << 20;

pub(super) fn format(format: Format) -> Asked<decode::Format> {
    Ok(match format {
        Format::Csv(options) => decode::Format::Csv(decode::CsvOptions {
            delimiter: u8::try_from(options.delimiter)
                .map_err(|_| Refusal::invalid("the delimiter must be one ASCII character"))?,
            header: options.header,
            columns: options.columns,
            null_tokens: options.null_tokens,
        }),
        Format::Ndjson => decode::Format::Ndjson,
        Format::Json(pointer) => decode::Format::Json { pointer },
        Format::Parquet(_) => return Err(Refusal::invalid("Parquet cannot be cut at bytes")),
    })
}

fn refused(origin: &str, error: &decode::Error) -> Refusal {
    match error.kind {
        decode::ErrorKind::Options => Refusal::invalid(error.message.clone()),
        decode::ErrorKind::Content => content(origin, &error.message),
        decode::ErrorKind::Internal => Refusal::unavailable(format!("{origin}: {}", error.message)),
    }
}

fn unread(origin: &str, error: &std::io::Error) -> Refusal {
    match error.kind() {
        // What a decompressor says of bytes that are not what it was told.
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => content(origin, error),
        std::io::ErrorKind::UnexpectedEof => content(origin, "it ends too early"),
        _ => Refusal::unavailable(format!("{origin}: {error}")),
    }
}

pub(super) fn infer(
    mut reader: Reader,
    format: &decode::Format,
    max: usize,
    origin: &str,
) -> Asked<Inferred> {
    let (sample, complete) = sample(&mut reader, max, origin)?;
    let inferred = decode::infer(format, &sample, complete).map_err(|error| refused(origin, &error))?;
    Ok(Inferred {
        schema: schema::to_wit(&inferred.schema).map_err(Refusal::from)?,
        rows: inferred.rows,
        notes: inferred.notes,
        row_groups: Vec::new(),
    })
}

/// The stream's beginning, and whether that was all.
fn sample(reader: &mut Reader, max: usize, origin: &str) -> Asked<(Vec<u8>, bool)> {
    let mut sample = vec![0; max];
    let filled = fill(reader, &mut sample).map_err(|error| unread(origin, &error))?;
    sample.truncate(filled);
    Ok((sample, filled < max))
}

pub(super) fn cuts(
    mut reader: Reader,
    format: &decode::Format,
    every: u64,
    max: usize,
    origin: &str,
) -> Asked<Vec<u64>> {
    let mut cuts = decode::Cuts::new(format, every).map_err(|error| refused(origin, &error))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let filled = fill(&mut reader, &mut chunk).map_err(|error| unread(origin, &error))?;
        cuts.feed(&chunk[..filled]);
        if filled < chunk.len() {
            break;
        }
    }
    let found = cuts.finish();
    if found.len() > max {
        return Err(Refusal::limit(format!("{} pieces are more than {max}: cut less often", found.len())));
    }
    Ok(found)
}

/// A stream, its decoder, and what was read for the schema's sake.
pub(super) struct TextKernel {
    reader: Reader,
    decoder: decode::Decoder,
    chunk: Vec<u8>,
    ended: bool,
    start: u64,
    origin: String,
}

impl TextKernel {
    pub(super) fn open(
        mut reader: Reader,
        format: &decode::Format,
        wanted: Option<SchemaRef>,
        start: u64,
        origin: String,
    ) -> Asked<Self> {
        let told = |error: decode::Error| refused(&origin, &error);
        let (schema, sampled, ended) = match wanted {
            Some(schema) => (schema, Vec::new(), false),
            None => {
                let (sample, complete) = sample(&mut reader, SAMPLE, &origin)?;
                let inferred = decode::infer(format, &sample, complete).map_err(told)?.settle();
                (inferred.schema, sample, complete)
            }
        };
        let mut decoder = decode::Decoder::new(format, schema).map_err(told)?;
        decoder.feed(&sampled);
        if ended {
            decoder.finish();
        }
        Ok(Self { reader, decoder, chunk: vec![0; CHUNK], ended, start, origin })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.decoder.schema()
    }

    pub(super) fn next(&mut self, max_bytes: usize) -> Asked<Option<Piece>> {
        loop {
            let decoded = self.decoder.next(max_bytes).map_err(|error| refused(&self.origin, &error))?;
            if let Some(decoded) = decoded {
                let rejects = decoded.rejects.into_iter().map(|reject| self.reject(reject)).collect();
                return Ok(Some(Piece { batch: decoded.batch, rejects, position: decoded.position }));
            }
            if self.ended {
                return Ok(None);
            }
            let filled =
                fill(&mut self.reader, &mut self.chunk).map_err(|error| unread(&self.origin, &error))?;
            self.decoder.feed(&self.chunk[..filled]);
            if filled < self.chunk.len() {
                self.ended = true;
                self.decoder.finish();
            }
        }
    }

    /// By line where the stream begins with the file, else by byte: nobody counted the lines before.
    fn reject(&self, reject: decode::Reject) -> Reject {
        let (unit, position) =
            if self.start == 0 { ("line", reject.line) } else { ("byte", self.start + reject.byte) };
        Reject {
            origin: self.origin.clone(),
            position,
            reason: format!("{unit} {position}: {}", reject.reason),
            raw: Some(reject.raw),
        }
    }
}
