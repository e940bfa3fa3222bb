//! A project folder to run the binary in, and ways to look at what it did.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

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
        project.pipeline(&format!(
            "pipeline: p\nextract:\n  connector: files@0.1\n  config: {{ location: ./data, format: csv }}\n  streams:\n{}ingest:\n  sink: delta\n  location: ./lake\n",
            streams.lines().map(|line| format!("    {line}\n")).collect::<String>()
        ));
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

    pub fn pipeline(&self, text: &str) {
        self.write("p.yaml", text);
    }

    pub fn variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // What one test compiled, the others find: compiling would take most of their time.
        command.env("TIDEGATE_CACHE_DIR", env!("CARGO_TARGET_TMPDIR"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `tidegate run p.yaml --yes-grant --json`, which must succeed.
    #[track_caller]
    pub fn load(&self) -> Value {
        self.run(&["run", "p.yaml", "--yes-grant", "--json"]).expect_code(0).json()
    }

    /// In the background, in a process group of its own.
    pub fn start(&self, arguments: &[&str]) -> Child {
        use std::os::unix::process::CommandExt;
        self.command(arguments).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What delta-rs, Polars and DuckDB see in a table of `lake`.
    #[track_caller]
    pub fn read(&self, stream: &str, key: &str) -> Value {
        let table = self.path(format!("lake/{stream}"));
        python("read_table.py", &[&table.display().to_string(), "--key", key])
    }
}

/// Runs one of the scripts in tests/python and reads the JSON it prints.
#[track_caller]
pub fn python(script: &str, arguments: &[&str]) -> Value {
    let output = python_command(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
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

/// A table like nycflights13's flights, the same every time: `rows` rows over `files` files, with a unique
/// `id`.
pub fn flights(project: &Project, rows: u64, files: u64) {
    use std::fmt::Write;
    let carriers = ["UA", "AA", "B6", "DL", "EV", "MQ", "9E", "WN"];
    let airports = ["IAH", "MIA", "BQN", "ATL", "ORD", "FLL", "IAD", "MCO", "PBI", "TPA"];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
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
                80 + random() % 4900,
                random() % 60,
            )
            .unwrap();
        }
        project.write(&format!("data/flights/part-{file:03}.csv"), text);
    }
}
