//! What a worker may ask of whoever started it, and how it is answered.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::pipes::next_line;

/// Longest question, in bytes: the largest secret that can be kept, in base64, and words around it.
const LONGEST_QUESTION: usize = 256 << 10;

/// Answers what a worker asks while it works. What the words mean is a matter between the two.
#[async_trait]
pub trait Desk: Send + Sync + fmt::Debug {
    /// One line for one line, both without their breaks. It is overwritten when it was sent.
    async fn answer(&self, question: &[u8]) -> Zeroizing<Vec<u8>>;
}

/// Our end of a line, and a worker's: its standard input.
pub(crate) fn line() -> io::Result<(UnixStream, Stdio)> {
    let (ours, theirs) = net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, Stdio::from(OwnedFd::from(theirs))))
}

/// Gives a worker its order, then answers what it asks, one question after the other, until it hangs up. A
/// worker that asks what is no line is not listened to any more.
pub(crate) async fn attend(line: UnixStream, order: Vec<u8>, desk: Arc<dyn Desk>) {
    if let Err(error) = talk(line, order, &*desk).await {
        // A worker that dies says so by its ending.
        tracing::debug!(%error, "the line to a worker broke");
    }
}

async fn talk(line: UnixStream, mut order: Vec<u8>, desk: &dyn Desk) -> io::Result<()> {
    let (questions, mut answers) = line.into_split();
    order.push(b'\n');
    answers.write_all(&order).await?;
    drop(order);
    let mut questions = BufReader::new(questions);
    // A question can hold a secret, too.
    let mut question = Zeroizing::new(Vec::with_capacity(LONGEST_QUESTION + 1));
    while next_line(&mut questions, &mut question, LONGEST_QUESTION).await? {
        let mut answer = desk.answer(&question).await;
        answer.push(b'\n');
        answers.write_all(&answer).await?;
    }
    Ok(())
}
