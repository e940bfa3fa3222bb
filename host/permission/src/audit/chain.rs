use std::path::Path;

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore;
use tidegate_infrastructure::{AppendedFile, Turn};
use tidegate_model::{Code, Fault, Result};

use super::lines::{Lines, MAX_LINE, Strays, hash, hex};
use super::record::{AuditRecord, VERSION};

/// Bytes that are read first to find the last record. A record has a few hundred.
const TAIL: u64 = 16 << 10;

/// The file with its end in mind: what the next record must hold.
#[derive(Debug)]
pub(super) struct Chain {
    file: AppendedFile,
    end: End,
}

/// What is known of a file's end.
#[derive(Debug, Default)]
struct End {
    /// Bytes that were looked at. What is behind them somebody else appended.
    length: u64,
    /// The number of the last record and its hash; 0 and nothing when there is none.
    seq: u64,
    hash: String,
    /// Lines since then that are no records.
    strays: Strays,
    /// Whether the last line lacks its break: whoever wrote it died, or the disk was full.
    torn: bool,
}

impl Chain {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: AppendedFile::open(path)?, end: End::default() })
    }

    /// Makes a record the last one. Nobody else appends in the meantime, so there is never a fork.
    pub(super) fn append(&mut self, record: AuditRecord) -> Result<()> {
        loop {
            let mut turn = self.file.turn()?;
            if let Some(length) = turn.length()? {
                self.end.look(&self.file, length)?;
                return self.end.append(&mut turn, record);
            }
            // Somebody removed it. What this one holds goes where people look.
            drop(turn);
            *self = Self::open(self.file.path())?;
        }
    }
}

impl End {
    fn look(&mut self, file: &AppendedFile, length: u64) -> Result<()> {
        if length == self.length {
            return Ok(());
        }
        if length < self.length {
            // Somebody cut lines off. The number of the next one will tell.
            let mut last = [b'\n'];
            if length > 0 {
                file.read_at(&mut last, length - 1)?;
            }
            self.torn = last != *b"\n";
            self.length = length;
            return Ok(());
        }
        if self.length > 0 {
            return self.absorb(file, length);
        }
        let mut window = TAIL;
        loop {
            *self = Self { length: length.saturating_sub(window), ..Self::default() };
            let whole = self.length == 0;
            self.absorb(file, length)?;
            if self.seq > 0 || whole {
                return Ok(());
            }
            window *= 8;
        }
    }

    /// Takes in the lines from where this ended. Where that was in the middle of one, its rest is a stray
    /// line, which the first record behind it makes unimportant.
    fn absorb(&mut self, file: &AppendedFile, length: u64) -> Result<()> {
        let mut lines = Lines::of(file, self.length, length);
        while let Some(line) = lines.next()? {
            let record = AuditRecord::read(&line.bytes).filter(|record| record.v == VERSION);
            match record {
                // One without a break at the very end may be cut short, and still read well by chance: it is
                // taken for whole if it continues the chain.
                Some(record) if line.ended || (record.seq == self.seq + 1 && record.prev == self.hash) => {
                    *self = Self { seq: record.seq, hash: hex(&line.hash), ..Self::default() };
                }
                _ => self.strays.add(&line),
            }
            self.torn = !line.ended;
        }
        self.length = length;
        Ok(())
    }

    fn append(&mut self, turn: &mut Turn, mut record: AuditRecord) -> Result<()> {
        if self.seq == 0 {
            let mut name = [0; 32];
            OsRng.fill_bytes(&mut name);
            self.hash = hex(&name);
        }
        record.seq = self.seq + 1;
        record.prev = std::mem::take(&mut self.hash);
        record.stray = self.strays.take();
        let mut text = String::with_capacity(512);
        if self.torn {
            // It stays, with a line of its own: the file is never rewritten.
            text.push('\n');
        }
        let begins = text.len();
        text.push_str(&serde_json::to_string(&record).map_err(|error| {
            Fault::internal(Code::Bug, format!("an audit record that cannot be written: {error}"))
        })?);
        let length = text.len() - begins;
        if length > MAX_LINE {
            // Whoever reads the file would not know it for a record, and the chain would end there.
            let why = format!("an audit record of {length} bytes is longer than {MAX_LINE}");
            return Err(Fault::user(Code::Storage, why));
        }
        let hash = hex(&hash(&text.as_bytes()[begins..]));
        text.push('\n');
        turn.append(text.as_bytes())?;
        *self = Self {
            length: self.length + text.len() as u64,
            seq: record.seq,
            hash,
            strays: Strays::default(),
            torn: false,
        };
        Ok(())
    }
}
