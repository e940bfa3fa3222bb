//! A project folder to run the binary in, and ways to look at what it did.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use rustix::process::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// What the S3 server believes.
pub const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

/// A folder with a pipeline file and data, gone when dropped.
pub struct Project {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("{error}\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
        })
    }

    /// Everything a person saw.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Project {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), environment: Vec::new() }
    }

    /// With a pipeline `p.yaml` that reads CSV files below `data` into `lake`.
    pub fn with_streams(streams: &str) -> Self {
        let project = Self::new();
        let text = format!(
            "pipeline: p\nextract:\n  connector: files@0.1\n  config: {{ location: ./data, format: csv }}\n  streams:\n{}ingest:\n  sink: delta\n  location: ./lake\n",
            streams.lines().map(|line| format!("    {line}\n")).collect::<String>()
        );
        project.write("p.yaml", text);
        project
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Writes something else wherever the pipeline file says `from`.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path("p.yaml")).unwrap();
        assert!(text.contains(from), "no `{from}` in\n{text}");
        self.write("p.yaml", text.replace(from, to));
    }

    pub fn variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // What one test compiled, the others find: compiling would take most of their time.
        command.env("TIDEGATE_CACHE_DIR", env!("CARGO_TARGET_TMPDIR"));
        // Keys that sign what tests did are not those of whoever runs them.
        command.env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// `tidegate run p.yaml --yes-grant --json`, which must succeed.
    #[track_caller]
    pub fn load(&self) -> Value {
        self.run(&["run", "p.yaml", "--yes-grant", "--json"]).expect_code(0).json()
    }

    /// In the background, in a process group of its own; what it says goes to the file `start.log`.
    pub fn start(&self, arguments: &[&str]) -> Child {
        use std::os::unix::process::CommandExt;
        let log = std::fs::File::create(self.path("start.log")).unwrap();
        self.command(arguments).process_group(0).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// What delta-rs, Polars and DuckDB see in a table of `lake`.
    #[track_caller]
    pub fn read(&self, stream: &str, key: &str) -> Value {
        let table = self.path(format!("lake/{stream}"));
        python("read_table.py", &[&table.display().to_string(), "--key", key])
    }
}

/// The process that the command started, whichever of its threads did.
pub fn worker_of(command: u32) -> Option<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{command}/task")).ok()?;
    threads.flatten().find_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
    })
}

/// Runs one of the scripts in tests/python and reads the JSON it prints.
#[track_caller]
pub fn python(script: &str, arguments: &[&str]) -> Value {
    let output = python_command(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One of the scripts in tests/python that serves something, until this is dropped.
pub struct Server {
    process: Child,
    /// What it printed first: where it listens, when it serves on a port of this machine.
    pub address: String,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Server {
    pub fn start(script: &str, arguments: &[&Path]) -> Self {
        Self::of(python_command(script).args(arguments))
    }

    pub fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut address = String::new();
        output.read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned(), pipes: Mutex::new((input, output)) }
    }

    /// Of a script that answers lines with lines of JSON.
    #[track_caller]
    pub fn ask(&self, question: &str) -> Value {
        let (input, output) = &mut *self.pipes.lock().unwrap();
        writeln!(input, "{question}").unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{question}: {error}: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn python_command(script: &str) -> Command {
    let interpreter = std::env::var("TIDEGATE_TEST_PYTHON").expect(
        "TIDEGATE_TEST_PYTHON names the Python with tests/python/requirements.txt: `tests/run` sets it",
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python").join(script);
    let mut command = Command::new(interpreter);
    command.arg(script);
    command
}

/// All engines agree on the number of rows and of distinct keys; returns them.
#[track_caller]
pub fn rows_and_keys(seen: &Value) -> (u64, u64) {
    let counts: Vec<_> = seen
        .as_object()
        .unwrap()
        .values()
        .map(|engine| (engine["rows"].as_u64(), engine["keys"].as_u64()))
        .collect();
    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "engines disagree: {seen}");
    (counts[0].0.unwrap(), counts[0].1.unwrap_or(0))
}

/// A table like nycflights13's flights, the same every time: `rows` rows over `files` files below `data`,
/// with a unique `id`.
pub fn flights(project: &Project, rows: u64, files: u64) {
    flights_below(project, "data", 1, rows, files);
}

/// The same with other values for each `seed` (not 0), below another folder; answers with the sum of
/// `distance`.
pub fn flights_below(project: &Project, folder: &str, seed: u64, rows: u64, files: u64) -> u64 {
    use std::fmt::Write;
    let carriers = ["UA", "AA", "B6", "DL", "EV", "MQ", "9E", "WN"];
    let airports = ["IAH", "MIA", "BQN", "ATL", "ORD", "FLL", "IAD", "MCO", "PBI", "TPA"];
    let mut total = 0;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed);
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for file in 0..files {
        let mut text = String::from(
            "id,year,month,day,dep_time,dep_delay,arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour\n",
        );
        for id in (file * rows / files)..((file + 1) * rows / files) {
            let (month, day, hour) = (1 + random() % 12, 1 + random() % 28, random() % 24);
            let cancelled = random() % 40 == 0;
            let distance = 80 + random() % 4900;
            total += distance;
            let time = |value: u64| if cancelled { String::new() } else { value.to_string() };
            writeln!(
                text,
                "{id},2013,{month},{day},{},{},{},{},{},{},N{:05},{},{},{},{},{hour},{},2013-{month:02}-{day:02}T{hour:02}:00:00Z",
                time(random() % 2400),
                time(random() % 300),
                time(random() % 2400),
                time(random() % 300),
                carriers[random() as usize % carriers.len()],
                random() % 6000,
                random() % 4000,
                ["EWR", "LGA", "JFK"][random() as usize % 3],
                airports[random() as usize % airports.len()],
                time(20 + random() % 600),
                distance,
                random() % 60,
            )
            .unwrap();
        }
        project.write(&format!("{folder}/flights/part-{file:03}.csv"), text);
    }
    total
}
