//! A small web server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answers requests on a port of this machine, each on a thread of its own, for as long as the process lives.
#[derive(Debug)]
pub struct Server {
    pub port: u16,
}

/// A request as it came, and what it asks for.
#[derive(Debug)]
pub struct Asked {
    /// Method, target and version.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let mut asked = Self { line: line.trim_end().to_owned(), headers: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            asked.headers.push((name.to_lowercase(), value.to_owned()));
        }
        if let Some(length) = asked.header("content-length").and_then(|length| length.parse().ok()) {
            let mut body = vec![0; length];
            lines.read_exact(&mut body).ok()?;
            asked.body = body;
        }
        Some(asked)
    }
}

/// What it says: the status, further headers, the body.
#[derive(Debug, Default)]
pub struct Said {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Before it says anything.
    pub pause: Duration,
}

impl Said {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn after(self, milliseconds: u64) -> Self {
        Self { pause: Duration::from_millis(milliseconds), ..self }
    }

    fn write(&self, head: bool, mut stream: TcpStream) -> std::io::Result<()> {
        thread::sleep(self.pause);
        write!(stream, "HTTP/1.1 {} as told\r\nconnection: close\r\n", self.status)?;
        if self.headers.iter().all(|(name, _)| *name != "content-length") {
            write!(stream, "content-length: {}\r\n", self.body.len())?;
        }
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        if head { Ok(()) } else { stream.write_all(&self.body) }
    }
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || {
                    if let Some(asked) = Asked::read(&stream) {
                        // Whoever asked may be gone.
                        let _ = answer(&asked).write(asked.line.starts_with("HEAD "), stream);
                    }
                });
            }
        });
        Self { port }
    }

    /// A file that is there: whole, in parts, or only its head, as it is asked for.
    pub fn file(content: &[u8], asked: &Asked) -> Said {
        let Some(range) = asked.header("range") else {
            return Said::new(200, content).with("etag", "\"1\"");
        };
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let last = last.parse().unwrap_or(usize::MAX).min(content.len() - 1);
        let first: usize = first.parse().unwrap();
        let part = format!("bytes {first}-{last}/{}", content.len());
        Said::new(206, &content[first..=last]).with("content-range", part).with("etag", "\"1\"")
    }
}
