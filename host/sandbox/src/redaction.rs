//! Blacks out in answers what a component must not see: secrets that were sent, however they come back.
//!
//! Bytes are replaced by as many `*`, so that lengths and offsets stay what the server said. A stream is cleaned as it
//! passes, and its end is held back until more comes: as many bytes as a secret could have begun in, whatever they
//! are. Were it only those that may be the beginning of a secret, their number would tell a component, which can have
//! a server say what it likes, how much of a guess is right.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::try_unfold;
use futures::{Stream, StreamExt};

use crate::bytes::Reader;
use crate::needles::Needles;

const CHUNK: usize = 64 << 10;
const BLACK: u8 = b'*';

/// What must not be seen of one answer. Nothing, unless told. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Redaction(Vec<Arc<Needles>>);

impl Redaction {
    pub(crate) fn add(&mut self, needles: Arc<Needles>) {
        if !needles.is_empty() {
            self.0.push(needles);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let mut bytes = text.as_bytes().to_vec();
        self.black_out(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn black_out(&self, bytes: &mut [u8]) {
        for range in self.found(bytes) {
            bytes[range].fill(BLACK);
        }
    }

    /// Whether a header's name, which is always in lower case, has one in it.
    pub(crate) fn is_in_name(&self, name: &str) -> bool {
        self.0.iter().any(|needles| needles.are_in_lower_case(name))
    }

    pub(crate) fn redactor(&self) -> Redactor {
        Redactor { redaction: self.clone(), held: Vec::new(), blind: 0 }
    }

    /// The same bytes, clean.
    pub(crate) fn reader(&self, inner: Reader) -> Reader {
        if self.is_empty() {
            return inner;
        }
        Box::new(Redacting {
            inner,
            redactor: Some(self.redactor()),
            chunk: vec![0; CHUNK],
            clear: Vec::new(),
            at: 0,
        })
    }

    /// The same bytes, clean, as they arrive.
    pub(crate) fn stream(
        &self,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        if self.is_empty() {
            return pieces.left_stream();
        }
        let begin = (Box::pin(pieces), Some(self.redactor()));
        let clean = try_unfold(begin, |(mut pieces, redactor)| async move {
            let Some(mut redactor) = redactor else { return Ok(None) };
            loop {
                let Some(piece) = pieces.next().await else {
                    let last = redactor.finish();
                    return Ok((!last.is_empty()).then(|| (Bytes::from(last), (pieces, None))));
                };
                let clear = redactor.push(&piece?);
                if !clear.is_empty() {
                    return Ok(Some((Bytes::from(clear), (pieces, Some(redactor)))));
                }
            }
        });
        clean.right_stream()
    }

    /// Bytes in which a secret may have begun that is not complete.
    fn held_back(&self) -> usize {
        self.0.iter().map(|needles| needles.longest()).max().unwrap_or_default().saturating_sub(1)
    }

    fn found(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.0.iter().for_each(|needles| needles.find(bytes, &mut found));
        found
    }
}

/// Cleans a stream, piece by piece.
pub(crate) struct Redactor {
    redaction: Redaction,
    /// The end of what came so far, as it came: a secret may have begun in it.
    held: Vec<u8>,
    /// So many of its first bytes belong to one that was found already.
    blind: usize,
}

impl Redactor {
    /// What is known to be clean after these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.redaction.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        self.give(self.redaction.held_back().min(self.held.len()))
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.give(0)
    }

    /// Gives all but the last `undecided` bytes.
    fn give(&mut self, undecided: usize) -> Vec<u8> {
        let given = self.held.len() - undecided;
        let found = self.redaction.found(&self.held);
        let tail = self.held.split_off(given);
        let mut clear = std::mem::replace(&mut self.held, tail);
        let before = 0..std::mem::take(&mut self.blind);
        // One that lies behind all that is given is found again.
        let begun = found.into_iter().filter(|range| range.start < given);
        for Range { start, end } in begun.chain([before]) {
            clear[start..end.min(given)].fill(BLACK);
            self.blind = self.blind.max(end.saturating_sub(given));
        }
        clear
    }
}

struct Redacting {
    inner: Reader,
    /// Absent at the end.
    redactor: Option<Redactor>,
    /// What was read last.
    chunk: Vec<u8>,
    clear: Vec<u8>,
    at: usize,
}

impl Read for Redacting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.clear.len() {
            let Some(redactor) = &mut self.redactor else { return Ok(0) };
            let read = self.inner.read(&mut self.chunk)?;
            self.at = 0;
            self.clear = if read > 0 { redactor.push(&self.chunk[..read]) } else { redactor.finish() };
            if read == 0 {
                self.redactor = None;
            }
        }
        let length = buffer.len().min(self.clear.len() - self.at);
        buffer[..length].copy_from_slice(&self.clear[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    fn redaction(secrets: &[&str]) -> Redaction {
        let mut redaction = Redaction::default();
        for secret in secrets {
            redaction.add(Arc::new(Needles::new([secret.as_bytes()])));
        }
        redaction
    }

    fn streamed(redaction: &Redaction, pieces: &[&[u8]]) -> Vec<u8> {
        let mut redactor = redaction.redactor();
        let mut clear: Vec<u8> = pieces.iter().flat_map(|piece| redactor.push(piece)).collect();
        clear.extend(redactor.finish());
        clear
    }

    const SECRET: &str = "tide/gate+secret=42?";

    #[test]
    fn a_secret_is_found_wherever_a_stream_is_cut() {
        let redaction = redaction(&[SECRET]);
        let text = format!("a{SECRET}b{SECRET}{SECRET}tide/gate+");
        let stars = "*".repeat(SECRET.len());
        let expected = format!("a{stars}b{stars}{stars}tide/gate+");
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(streamed(&redaction, &[left, right]), expected.as_bytes(), "{cut}");
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(streamed(&redaction, &single), expected.as_bytes());
    }

    #[test]
    fn secrets_that_overlap_are_both_gone() {
        let redaction = redaction(&["abcdefghij", "ghijklmnop"]);
        let text = b"-abcdefghijklmnop-";
        for cut in 0..=text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(streamed(&redaction, &[left, right]), b"-****************-", "{cut}");
        }
    }

    #[test]
    fn how_much_is_held_back_tells_nothing_of_a_secret() {
        let redaction = redaction(&[SECRET]);
        let pieces = |text: &str| {
            let mut redactor = redaction.redactor();
            let mut pieces: Vec<usize> =
                text.as_bytes().chunks(100).map(|piece| redactor.push(piece).len()).collect();
            pieces.push(redactor.finish().len());
            pieces
        };
        let nothing = pieces(&"x".repeat(300));
        assert!(nothing[0] > 0 && nothing[3] > 0, "{nothing:?}");
        for guessed in 0..SECRET.len() {
            for end in [100, 150, 300] {
                let text = format!("{}{}", "x".repeat(end - guessed), &SECRET[..guessed]);
                let text = format!("{text}{}", "x".repeat(300 - end));
                assert_eq!(pieces(&text), nothing, "{guessed} at {end}");
            }
        }
    }

    #[tokio::test]
    async fn a_stream_gives_the_same_bytes_but_for_the_secret() {
        let text = format!("a{SECRET}b{SECRET}tide/gate+");
        for redaction in [redaction(&[SECRET]), Redaction::default()] {
            let expected = redaction.text(&text);
            for size in [1, 7, text.len()] {
                let pieces: Vec<_> =
                    text.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                let clear: Vec<Bytes> =
                    redaction.stream(futures::stream::iter(pieces)).try_collect().await.unwrap();
                assert_eq!(clear.concat(), expected.as_bytes(), "{size}");
            }
        }
        let broken: Vec<io::Result<Bytes>> =
            vec![Ok(Bytes::from_static(b"x")), Err(io::ErrorKind::TimedOut.into())];
        let clear = redaction(&[SECRET]).stream(futures::stream::iter(broken)).try_collect::<Vec<_>>().await;
        assert_eq!(clear.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_reader_gives_the_same_bytes_but_for_the_secret() {
        let redaction = redaction(&[SECRET]);
        let filler = "x".repeat(CHUNK - 7);
        let text = format!("{filler}{SECRET}{filler}{SECRET}");
        let mut read = String::new();
        let inner: Reader = Box::new(io::Cursor::new(text.clone().into_bytes()));
        redaction.reader(inner).read_to_string(&mut read).unwrap();
        assert_eq!(read, text.replace(SECRET, &"*".repeat(SECRET.len())));
    }

    #[test]
    fn without_a_secret_nothing_changes() {
        let none = Redaction::default();
        assert_eq!(streamed(&none, &[b"a", b"b"]), b"ab");
        assert_eq!(none.text(SECRET), SECRET);
    }
}
