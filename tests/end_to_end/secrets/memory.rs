//! The memory of a worker that has sent secrets and is stopped, as a core dump would have it: the components'
//! part of it, and the rest.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tidegate_sandbox_tests::{ROUNDTRIP, marker};

use super::forms::{forms, sayings};
use super::{position, project};
use crate::harness::worker_of;

/// Slot, variable and value. The last is sent in the header that the first is sent in, so not with it.
const SECRETS: [(&str, &str, &str); 4] = [
    ("token", "SECRET_A", "core?dump/bearer+7&%\u{e9}-XQ9"),
    ("key", "SECRET_B", "core?dump/header+7&%-XQ9"),
    ("parameter", "SECRET_C", "core?dump/query+7&%-XQ9"),
    ("password", "SECRET_D", "core?dump/basic+7&%-XQ9"),
];

#[test]
fn the_memory_of_components_has_nothing_of_a_secret_and_the_workers_own_does() {
    let (together, alone) = SECRETS.split_at(3);
    for bound in [together, alone] {
        search(bound);
    }
}

fn search(bound: &[(&str, &str, &str)]) {
    let mut project = project();
    let (url, held, release) = parrot();
    let secrets: String = bound.iter().map(|(slot, name, _)| format!("    {slot}: env:{name}\n")).collect();
    let calls: String = ["a", "b", "hold"].map(|path| format!("{{ url: \"{url}/{path}\" }}")).join(", ");
    project.write("roundtrip.wasm", std::fs::read(ROUNDTRIP).unwrap());
    project.write(
        "p.yaml",
        format!(
            "\
pipeline: p
extract:
  connector: ./roundtrip.wasm
  config: {{ url: \"{url}\", dump: true, strict: true, calls: [{calls}] }}
  secrets:
{secrets}  streams:
    roundtrip: {{ mode: full }}
ingest: {{ sink: delta, location: ./lake }}
"
        ),
    );
    for (_, name, secret) in bound {
        project.variable(name, secret);
    }
    project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);

    let mut command = project.start(&["check", "p.yaml"]);
    while held.recv_timeout(Duration::from_millis(50)).is_err() {
        if let Some(status) = command.try_wait().unwrap() {
            panic!(
                "it never called, {status}: {}",
                std::fs::read_to_string(project.path("start.log")).unwrap()
            );
        }
    }
    let worker = worker_of(command.id()).expect("a worker that is waiting");
    kill_process(worker, Signal::STOP).unwrap();
    let areas = areas(worker);
    kill_process(worker, Signal::CONT).unwrap();
    release.send(()).unwrap();
    let log = || std::fs::read_to_string(project.path("start.log")).unwrap();
    assert!(command.wait().unwrap().success(), "{}", log());

    let (components, host): (Vec<_>, Vec<_>) = areas.iter().partition(|area| area.found.contains(&0));
    let size = |areas: &[&Area]| areas.iter().map(|area| area.size).sum::<u64>() >> 10;
    println!(
        "{} KiB of components in {} areas, {} KiB of the worker's own in {}",
        size(&components),
        components.len(),
        size(&host),
        host.len()
    );
    assert!(!components.is_empty(), "the component's mark was not found");
    let (needles, hidden) = (needles(), forms_of(bound));
    let (mut known, mut leaked) = (0, Vec::new());
    for index in components.iter().flat_map(|area| &area.found).filter(|index| **index > 0) {
        let text = String::from_utf8_lossy(&needles[*index]).into_owned();
        if hidden.contains(&text) { leaked.push(text) } else { known += 1 }
    }
    assert!(leaked.is_empty(), "a component's memory has {leaked:?}");
    // The same search finds what is there: what the server told of a secret that is not bound here,
    assert!(known > 0, "nothing of what the server told the component was found");
    // and in the worker's own memory what is.
    for (_, name, secret) in bound {
        let plain = needles.iter().position(|needle| needle == secret.as_bytes()).unwrap();
        assert!(host.iter().any(|area| area.found.contains(&plain)), "{name} is nowhere in the worker");
    }
}

/// What is looked for: the mark of components first, then every form of every secret.
fn needles() -> Vec<Vec<u8>> {
    std::iter::once(marker()).chain(forms_of(&SECRETS).into_iter().map(String::into_bytes)).collect()
}

fn forms_of(secrets: &[(&str, &str, &str)]) -> Vec<String> {
    secrets.iter().flat_map(|(_, _, secret)| forms(secret)).collect()
}

/// A server that tells what it was told, and all that it knows. Whoever asks for `/hold` waits for a word.
fn parrot() -> (String, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let ((holding, held), (release, released)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let asked = head(&mut stream);
            if asked.starts_with(b"GET /hold") {
                holding.send(()).unwrap();
                let _ = released.recv();
            }
            let known: Vec<String> = SECRETS.iter().flat_map(|(_, _, secret)| sayings(secret)).collect();
            let known = known.join(" ");
            let body = [asked.as_slice(), known.as_bytes()].concat();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
        }
    });
    (url, held, release)
}

fn head(stream: &mut TcpStream) -> Vec<u8> {
    let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
    while position(&asked, b"\r\n\r\n").is_none() {
        match stream.read(&mut piece) {
            Ok(length @ 1..) => asked.extend_from_slice(&piece[..length]),
            _ => break,
        }
    }
    asked
}

/// Memory without a gap. Those of components have pages before and behind them that nobody can reach.
struct Area {
    size: u64,
    /// Indices of needles, each as often as it is there.
    found: Vec<usize>,
}

/// All memory of a process that can be written to.
fn areas(process: Pid) -> Vec<Area> {
    let process = process.as_raw_nonzero();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        match spans.last_mut() {
            _ if !rest.starts_with("rw") => {}
            Some((_, last)) if *last == start => *last = end,
            _ => spans.push((start, end)),
        }
    }
    let search = Search::of(needles());
    spans.iter().map(|(start, end)| search.area(&memory, *start, *end)).collect()
}

/// Looks for many texts at once.
struct Search {
    needles: Vec<Vec<u8>>,
    /// By their first two bytes.
    by_start: Vec<Vec<usize>>,
}

impl Search {
    const PIECE: u64 = 1 << 20;

    fn of(needles: Vec<Vec<u8>>) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (index, needle) in needles.iter().enumerate() {
            by_start[usize::from(u16::from_le_bytes([needle[0], needle[1]]))].push(index);
        }
        Self { needles, by_start }
    }

    fn area(&self, memory: &File, start: u64, end: u64) -> Area {
        let longest = self.needles.iter().map(Vec::len).max().unwrap();
        let (mut found, mut bytes) = (Vec::new(), Vec::new());
        for piece in (start..end).step_by(Self::PIECE as usize) {
            // What begins in this piece may end in the next.
            let length = (end - piece).min(Self::PIECE + longest as u64 - 1);
            bytes.resize(length as usize, 0);
            // Pages that lie beyond the end of their file cannot be read.
            if memory.read_exact_at(&mut bytes, piece).is_err() || bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            for at in 0..bytes.len().saturating_sub(1).min(Self::PIECE as usize) {
                let first = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
                let candidates = self.by_start[first].iter();
                found.extend(candidates.filter(|index| bytes[at..].starts_with(&self.needles[**index])));
            }
        }
        Area { size: end - start, found }
    }
}
