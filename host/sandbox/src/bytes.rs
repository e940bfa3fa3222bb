//! Streams of bytes: a guest reads them piece by piece, or hands them to a kernel.
//!
//! Files, and whatever must be decompressed, are read synchronously on a blocking thread, a piece at a time. That is
//! what bounds a decompression bomb (nothing is inflated that nobody asked for), and a panic in a decompressor ends
//! with its thread. What arrives over the runtime as it is needs no thread.

use std::io::{BufReader, Read};
use std::pin::Pin;

use flate2::read::MultiGzDecoder;
use tidegate_model::{Code, Fault};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::SyncIoBridge;
use wasmtime::component::Resource;

use crate::bindings::bytes;
use crate::bindings::files::Compression;
use crate::files::Object;
use crate::guest::Guest;
use crate::meter::Charge;
use crate::refusal::{Asked, Refusal};

/// One `read` gives at most this much.
const MAX_READ: u32 = 8 << 20;
/// What a stream may hold in buffers: its own and the decompressor's window.
const HELD: u64 = 1 << 20;
/// zstd's window is at most 2^23 bytes, as its format asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;
const ZSTD_HELD: u64 = HELD + (1 << ZSTD_WINDOW_LOG);

/// One `read` of what arrives gives at most this much: it comes in small pieces.
const MAX_ARRIVING: usize = 64 << 10;

pub(crate) type Reader = Box<dyn Read + Send>;
pub(crate) type Arriving = Pin<Box<dyn AsyncRead + Send>>;

enum Source {
    /// To be read on blocking threads only.
    Blocking(Reader),
    Arriving(Arriving),
}

/// A guest's `byte-stream`.
pub struct ByteStream {
    /// Absent while it is read from.
    source: Option<Source>,
    /// Where in the stored file it begins; 0 for compressed ones, whose positions are counted after
    /// decompression.
    pub(crate) start: u64,
    /// For rejects and messages: the path or the URL.
    pub(crate) origin: String,
    /// The whole stored file, where a kernel may read it from anywhere.
    pub(crate) object: Option<Object>,
    _charge: Charge,
}

impl ByteStream {
    pub(crate) fn new(
        guest: &Guest,
        stored: Reader,
        compression: Compression,
        start: u64,
        origin: String,
        object: Option<Object>,
    ) -> Asked<Self> {
        let held = if compression == Compression::Zstd { ZSTD_HELD } else { HELD };
        let charge = guest.ledger().charge(held)?;
        let reader =
            decompressed(stored, compression).map_err(|error| Refusal::unavailable(error.to_string()))?;
        Ok(Self { source: Some(Source::Blocking(reader)), start, origin, object, _charge: charge })
    }

    /// Of bytes that come over the runtime.
    pub(crate) fn arriving(guest: &Guest, arriving: Arriving, origin: String) -> Asked<Self> {
        let charge = guest.ledger().charge(HELD)?;
        Ok(Self { source: Some(Source::Arriving(arriving)), start: 0, origin, object: None, _charge: charge })
    }

    pub(crate) fn into_reader(self) -> Asked<(Reader, Charge)> {
        let Self { source, _charge, .. } = self;
        let reader = match source.ok_or_else(interrupted)? {
            Source::Blocking(reader) => reader,
            Source::Arriving(arriving) => from_async(arriving),
        };
        Ok((reader, _charge))
    }
}

fn interrupted() -> Refusal {
    Refusal::invalid("the stream was interrupted in the middle of a read")
}

/// A reader of what arrives on the runtime. To be read on blocking threads only.
pub(crate) fn from_async(reader: impl AsyncRead + Send + Unpin + 'static) -> Reader {
    Box::new(SyncIoBridge::new(reader))
}

pub(crate) fn decompressed(stored: Reader, compression: Compression) -> std::io::Result<Reader> {
    Ok(match compression {
        Compression::None => stored,
        Compression::Gzip => Box::new(Gzip { sealed: Some(stored), open: None }),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(stored)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Gzip that reads nothing before it is read itself, on a blocking thread: the decoder behind it wants the
/// header at once.
struct Gzip {
    sealed: Option<Reader>,
    open: Option<MultiGzDecoder<BufReader<Reader>>>,
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Some(stored) = self.sealed.take() {
            self.open = Some(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, stored)));
        }
        self.open.as_mut().map_or(Ok(0), |decoder| decoder.read(buffer))
    }
}

/// Fills the buffer as far as the stream goes; fewer bytes mean that it ended.
pub(crate) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Runs on a blocking thread; a panic there is a fault here.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Asked<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Refusal::Ended(Fault::internal(Code::ConnectorFailed, format!("decoding broke down: {error}")))
    })
}

impl Source {
    /// The next bytes, at most so many; none at the end.
    async fn read(self, length: usize) -> Asked<(Self, std::io::Result<Vec<u8>>)> {
        match self {
            Self::Blocking(mut reader) => {
                on_thread(move || {
                    let mut buffer = vec![0; length];
                    let read = reader.read(&mut buffer).map(|read| {
                        buffer.truncate(read);
                        buffer
                    });
                    (Self::Blocking(reader), read)
                })
                .await
            }
            Self::Arriving(mut arriving) => {
                let length = length.min(MAX_ARRIVING);
                let mut buffer = Vec::with_capacity(length);
                let read = (&mut arriving).take(length as u64).read_buf(&mut buffer).await;
                Ok((Self::Arriving(arriving), read.map(|_| buffer)))
            }
        }
    }
}

impl bytes::Host for Guest {}

impl bytes::HostByteStream for Guest {
    async fn read(&mut self, stream: Resource<ByteStream>, max: u32) -> Asked<Option<Vec<u8>>> {
        let length = max.min(MAX_READ) as usize;
        if length == 0 {
            return Err(Refusal::invalid("`read` of no bytes"));
        }
        let charge = self.ledger().charge(length as u64)?;
        let source = self.table.get_mut(&stream)?.source.take().ok_or_else(interrupted)?;
        let (source, read) = source.read(length).await?;
        drop(charge);
        let stream = self.table.get_mut(&stream)?;
        stream.source = Some(source);
        let read = read.map_err(|error| Refusal::unavailable(format!("{}: {error}", stream.origin)))?;
        self.meter.moved(read.len() as u64, 0);
        if !read.is_empty() {
            self.meter.progressed();
        }
        Ok(if read.is_empty() { None } else { Some(read) })
    }

    async fn drop(&mut self, stream: Resource<ByteStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
