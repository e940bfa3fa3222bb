//! What a worker asks of whoever gave it its order: secrets, and whether all that it permits still stands.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_infrastructure::files::reason;
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Question, Reply, Secret, Vault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Longest answer, in bytes: the largest secret that can be kept, in base64, and words around it.
const LONGEST_ANSWER: usize = 256 << 10;

/// Asks on the socket that is this process's standard input, one question at a time whoever asks. Keeps nothing
/// of what it is told.
#[derive(Debug)]
pub struct WorkerVault(Arc<Mutex<Line>>);

#[derive(Debug)]
enum Line {
    /// Nobody asked yet.
    Stdin,
    Open(UnixStream),
    /// A question was asked, and it is not known how much of the answer is still to come.
    Broken,
}

impl WorkerVault {
    pub fn on_stdin() -> Self {
        Self(Arc::new(Mutex::new(Line::Stdin)))
    }

    /// What ends the run, once something that the order permits is not granted any more.
    pub async fn taken_back(&self) -> Result<Option<Fault>> {
        match self.ask(Question::Standing).await? {
            Reply::Granted => Ok(None),
            Reply::TakenBack(fault) => Ok(Some(fault)),
            _ => Err(out_of_place()),
        }
    }

    async fn ask(&self, question: Question) -> Result<Reply> {
        let line = Arc::clone(&self.0);
        // A task of its own: whoever asks may be given up, and the next one must not get this answer.
        let asked = tokio::spawn(async move { line.lock().await.ask(&question).await });
        match asked.await {
            Ok(Ok(Reply::Refused(fault))) => Err(fault),
            Ok(reply) => reply,
            Err(_) => Err(gone("asking for a secret was given up")),
        }
    }
}

impl Line {
    async fn ask(&mut self, question: &Question) -> Result<Reply> {
        // Until the answer is there, whole.
        let mut stream = match std::mem::replace(self, Self::Broken) {
            Self::Open(stream) => stream,
            Self::Stdin => stdin().map_err(|error| gone(&reason(&error)))?,
            Self::Broken => return Err(gone("an answer was lost before")),
        };
        let mut sent = question.to_line()?;
        sent.push(b'\n');
        stream.write_all(&sent).await.map_err(|error| gone(&reason(&error)))?;
        let answer = answer(&mut stream).await.map_err(|error| gone(&reason(&error)))?;
        *self = Self::Open(stream);
        Reply::from_line(&answer)
    }
}

/// Read into a buffer that need not grow, which would leave copies behind. Nothing is sent after an answer, so no
/// more than one is there.
async fn answer(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut answer = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER));
    while answer.last() != Some(&b'\n') {
        if answer.len() == LONGEST_ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = LONGEST_ANSWER - answer.len();
        let limit = u64::try_from(room).unwrap_or(u64::MAX);
        if (&mut *stream).take(limit).read_buf(&mut *answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(answer)
}

fn stdin() -> io::Result<UnixStream> {
    let stream = net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// A worker dies with whoever started it, so nobody is likely to read this.
fn gone(why: &str) -> Fault {
    Fault::external(Code::WorkerLost, format!("whoever started this worker does not answer: {why}"))
}

#[async_trait]
impl Vault for WorkerVault {
    async fn secret(&self, slot: &str) -> Result<Secret> {
        match self.ask(Question::Secret(slot.to_owned())).await? {
            Reply::Secret(secret) => Ok(secret),
            _ => Err(out_of_place()),
        }
    }

    async fn rotate(&self, slot: &str, value: Secret) -> Result<()> {
        match self.ask(Question::Rotate { slot: slot.to_owned(), value }).await? {
            Reply::Kept => Ok(()),
            _ => Err(out_of_place()),
        }
    }
}

fn out_of_place() -> Fault {
    Fault::internal(Code::Bug, "an answer to another question")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::time::timeout;

    use super::*;

    /// A vault, and the other end of its line.
    fn vault() -> (Arc<WorkerVault>, BufReader<UnixStream>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Arc::new(WorkerVault(Arc::new(Mutex::new(Line::Open(ours))))), BufReader::new(theirs))
    }

    async fn asked(line: &mut BufReader<UnixStream>) -> Question {
        let mut question = String::new();
        line.read_line(&mut question).await.unwrap();
        Question::from_line(question.trim_end().as_bytes()).unwrap()
    }

    async fn say(line: &mut BufReader<UnixStream>, reply: Reply) {
        line.write_all(&reply.to_line().unwrap()).await.unwrap();
        line.write_all(b"\n").await.unwrap();
    }

    /// Answers each question for a secret with the slot's name, each letter doubled.
    async fn answer_all(mut line: BufReader<UnixStream>) {
        loop {
            let reply = match asked(&mut line).await {
                Question::Secret(slot) if slot == "none" => {
                    Reply::Refused(Fault::user(Code::NoSecret, "none"))
                }
                Question::Secret(slot) => {
                    Reply::Secret(Secret::new(slot.bytes().flat_map(|byte| [byte, byte]).collect()))
                }
                Question::Rotate { .. } => Reply::Kept,
                Question::Standing => Reply::Granted,
            };
            say(&mut line, reply).await;
        }
    }

    #[tokio::test]
    async fn many_ask_at_once_and_each_gets_its_own_answer() {
        let (vault, line) = vault();
        tokio::spawn(answer_all(line));
        let askers: Vec<_> = (0..50)
            .map(|number| {
                let vault = Arc::clone(&vault);
                tokio::spawn(async move {
                    let slot = number.to_string();
                    let secret = vault.secret(&slot).await.unwrap();
                    let doubled: Vec<u8> = slot.bytes().flat_map(|byte| [byte, byte]).collect();
                    assert_eq!(secret.expose(), doubled);
                })
            })
            .collect();
        for asker in askers {
            asker.await.unwrap();
        }
        vault.rotate("token", Secret::new(vec![0xff; Secret::LONGEST])).await.unwrap();
        assert_eq!(vault.secret("none").await.unwrap_err().code, Code::NoSecret);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_is_not_given_to_the_next() {
        let (vault, mut line) = vault();
        let given_up = timeout(Duration::from_millis(20), vault.secret("one")).await;
        assert!(given_up.is_err());
        assert!(matches!(asked(&mut line).await, Question::Secret(slot) if slot == "one"));
        let next = tokio::spawn({
            let vault = Arc::clone(&vault);
            async move { vault.secret("two").await.unwrap() }
        });
        say(&mut line, Reply::Secret(Secret::new(b"1".to_vec()))).await;
        assert!(matches!(asked(&mut line).await, Question::Secret(slot) if slot == "two"));
        say(&mut line, Reply::Secret(Secret::new(b"2".to_vec()))).await;
        assert_eq!(next.await.unwrap().expose(), b"2");
    }

    #[tokio::test]
    async fn a_line_that_breaks_stays_broken() {
        for nonsense in [&b""[..], b"half an ans", &[b'x'; LONGEST_ANSWER + 1]] {
            let (vault, mut line) = vault();
            let talk = async {
                asked(&mut line).await;
                // The vault stops reading what is too long.
                let _ = line.write_all(nonsense).await;
                drop(line);
            };
            let (told, ()) = tokio::join!(vault.secret("token"), talk);
            let told = told.unwrap_err().to_string();
            assert!(told.starts_with("TG0701: whoever started this worker does not answer: "), "{told}");
            assert!(vault.secret("token").await.unwrap_err().message.ends_with("an answer was lost before"));
        }
    }

    #[tokio::test]
    async fn an_answer_to_another_question_is_none() {
        let (vault, mut line) = vault();
        let talk = async {
            asked(&mut line).await;
            say(&mut line, Reply::Kept).await;
        };
        let (told, ()) = tokio::join!(vault.secret("token"), talk);
        assert_eq!(told.unwrap_err().code, Code::Bug);
    }
}
