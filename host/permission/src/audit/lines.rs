//! A file by the line, in bounded memory, however long the file or a line is.

use sha2::{Digest, Sha256};
use tidegate_infrastructure::AppendedFile;
use tidegate_model::Result;

/// Bytes of a line that are kept. A record is far shorter: its texts are cut when they are recorded.
pub(super) const MAX_LINE: usize = 256 << 10;
const BLOCK: usize = 64 << 10;

/// A SHA-256.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// As lines have it: hexadecimal.
pub(super) fn hex(hash: &Hash) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(64);
    for byte in hash {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The hash of lines that are no records: of their hashes.
#[derive(Debug, Default)]
pub(super) struct Strays {
    hasher: Sha256,
    pub(super) count: u64,
}

impl Strays {
    pub(super) fn add(&mut self, line: &Line) {
        self.hasher.update(line.hash);
        self.count += 1;
    }

    /// As the next record has it, and begins anew.
    pub(super) fn take(&mut self) -> Option<String> {
        let strays = std::mem::take(self);
        (strays.count > 0).then(|| hex(&strays.hasher.finalize().into()))
    }
}

#[derive(Debug, Default)]
pub(super) struct Line {
    /// Where in the file.
    pub(super) begins: u64,
    /// Without the line break; the first of them, when it is longer than any record.
    pub(super) bytes: Vec<u8>,
    /// Of all of it.
    pub(super) hash: Hash,
    /// Whether a line break follows.
    pub(super) ended: bool,
}

/// The lines of a part of a file, which begins where a line does.
pub(super) struct Lines<'a> {
    file: &'a AppendedFile,
    /// Where the next block is read, and where reading ends.
    offset: u64,
    end: u64,
    block: Vec<u8>,
    taken: usize,
    /// Where the next line begins.
    begins: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn of(file: &'a AppendedFile, offset: u64, end: u64) -> Self {
        Self { file, offset, end, block: Vec::new(), taken: 0, begins: offset }
    }

    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        let mut line = Line { begins: self.begins, ..Line::default() };
        let mut hasher = Sha256::new();
        let mut any = false;
        while self.fill()? {
            any = true;
            let rest = &self.block[self.taken..];
            let stop = rest.iter().position(|byte| *byte == b'\n');
            let piece = &rest[..stop.unwrap_or(rest.len())];
            hasher.update(piece);
            let room = MAX_LINE - line.bytes.len();
            line.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            let taken = piece.len() + usize::from(stop.is_some());
            self.taken += taken;
            self.begins += taken as u64;
            if stop.is_some() {
                line.ended = true;
                break;
            }
        }
        line.hash = hasher.finalize().into();
        Ok(any.then_some(line))
    }

    /// Makes sure that there is something in the block; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.taken < self.block.len() {
            return Ok(true);
        }
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.block.resize(BLOCK.min(left), 0);
        let read = self.file.read_at(&mut self.block, self.offset)?;
        self.block.truncate(read);
        self.offset += read as u64;
        self.taken = 0;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_at_every_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let file = AppendedFile::open(&path).unwrap();
        let lengths = [0, 1, BLOCK - 2, BLOCK - 1, BLOCK, 0, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE, 5];
        let text: Vec<Vec<u8>> = lengths.iter().map(|length| vec![b'x'; *length]).collect();
        file.turn().unwrap().append(&text.join(&b'\n')).unwrap();
        let mut lines = Lines::of(&file, 0, u64::MAX);
        for (number, expected) in text.iter().enumerate() {
            let line = lines.next().unwrap().unwrap();
            assert_eq!(line.hash, hash(expected), "{number}");
            assert_eq!(line.bytes.len(), expected.len().min(MAX_LINE), "{number}");
            assert_eq!(line.ended, number + 1 < lengths.len(), "{number}");
        }
        assert!(lines.next().unwrap().is_none());
        // To a place that somebody else may be writing behind.
        let mut lines = Lines::of(&file, 1, 3);
        assert_eq!(lines.next().unwrap().unwrap().bytes, b"x");
        assert!(lines.next().unwrap().is_none());
    }
}
