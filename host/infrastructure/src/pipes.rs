//! Reading what a child writes, within limits: it may be mad.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// The next line without its break. Fails with `FileTooLarge` when it is longer than `most` bytes.
pub(crate) async fn next_line(
    from: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    most: usize,
) -> io::Result<bool> {
    line.clear();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    if from.take(limit).read_until(b'\n', line).await? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(true)
}

/// The last bytes of something that may be endless.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    const KEPT: usize = 64 << 10;

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(Self::KEPT)..];
        let excess = (self.0.len() + new.len()).saturating_sub(Self::KEPT);
        self.0.drain(..excess);
        self.0.extend(new);
    }

    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    /// Reads to the end and keeps the tail. An error is an end.
    pub(crate) async fn of(mut from: impl AsyncRead + Unpin) -> Self {
        let mut tail = Self::default();
        let mut piece = vec![0; 8 << 10];
        while let Ok(size @ 1..) = from.read(&mut piece).await {
            tail.push(&piece[..size]);
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_up_to_a_limit() {
        let mut input: &[u8] = b"one\n\nthree\nlonger than that\nlast";
        let mut line = Vec::new();
        for expected in ["one", "", "three"] {
            assert!(next_line(&mut input, &mut line, 5).await.unwrap());
            assert_eq!(line, expected.as_bytes());
        }
        let error = next_line(&mut input, &mut line, 5).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let mut input: &[u8] = b"last";
        assert!(next_line(&mut input, &mut line, 5).await.unwrap());
        assert_eq!(line, b"last");
        assert!(!next_line(&mut input, &mut line, 5).await.unwrap());
    }

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = Tail::default();
        tail.push(b"first");
        tail.push(&vec![b'x'; Tail::KEPT - 3]);
        assert!(tail.text().starts_with("rstx"));
        tail.push(&[&vec![b'y'; Tail::KEPT][..], b"end"].concat());
        assert_eq!(tail.0.len(), Tail::KEPT);
        assert!(tail.text().ends_with("yend"));
    }
}
