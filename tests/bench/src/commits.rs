//! What a commit costs, in seconds and requests, as generations get more splits and tables more commits.
#![expect(clippy::large_futures, reason = "there is one of each, and it is not moved")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path as FilePath;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tempfile::TempDir;
use tidegate_ingestion::{Coordinator, Identity, Location, NewPlan, Split, Table};
use tidegate_model::{ApplicationId, Mode, PipelineName, StreamName, WriteMode};
use url::Url;

use crate::Rounds;
use crate::counted::{Counted, Counts, KINDS, Requests};

const ROWS: i64 = 3;
const SPLITS: [usize; 5] = [1, 10, 100, 500, 2000];
/// Splits that one commit publishes, where a generation has as many.
const EPOCH: usize = 50;
const COMMITS: [usize; 5] = [10, 100, 1000, 3000, 10_000];
/// The S3 server at hand looks at every key of its bucket for each LIST, so more of them measure that.
const COMMITS_ON_S3: usize = 1000;
/// Commits of one run: a generation of as many splits. As often a checkpoint of Delta's log is written.
const RUN: usize = 10;
/// Runs that one line of the table of commits is taken from: the last ones.
const WINDOW: usize = 5;

pub async fn measure() {
    println!("Cost of commits. LIST and DELETE are counted as S3 does, by up to 1,000 names each.");
    // What is done for the first time in a process is slower.
    run(&Lake::local(), &mut Source::default(), &mut Costs::new()).await;
    for open in [Lake::local as fn() -> Lake, Lake::s3] {
        splits(open).await;
        commits(open()).await;
    }
}

/// One generation, and as many splits with one receipt each.
async fn splits(open: fn() -> Lake) {
    let mut table =
        Curves::new(EPOCH * 2, "splits", format!("a commit after each {EPOCH} and one at the end"));
    for count in SPLITS {
        let lake = open();
        let mut source = Source::default();
        let mut coordinator = lake.coordinator().await;
        let costs = table.at(count);
        lake.cost(costs, "plan", coordinator.begin(source.plan(count))).await.unwrap();
        lake.cost(costs, "what is pending", coordinator.pending()).await.unwrap();
        let mut peak = String::new();
        for index in 0..count {
            if index == count / 2 && index > 0 {
                let again = async {
                    let mut coordinator = lake.coordinator().await;
                    assert!(coordinator.resume().await.unwrap().is_some());
                    assert_eq!(coordinator.pending().await.unwrap().len(), count - index);
                    coordinator
                };
                coordinator = lake.cost(costs, "open and resume, halfway", again).await;
            }
            lake.cost(costs, "stage a split", source.stage(&coordinator, index)).await;
            if index + 1 == count {
                peak = lake.state().await;
                lake.cost(costs, "last commit", coordinator.commit(true)).await.unwrap().unwrap();
            } else if (index + 1) % EPOCH == 0 {
                lake.cost(costs, "commit", coordinator.commit(false)).await.unwrap().unwrap();
            }
        }
        table.note(format!(
            "{count:>7} splits: before the last commit {peak}; after it {}",
            lake.state().await
        ));
        table.place = lake.name;
    }
    table.print();
}

/// One table, and run after run with [`RUN`] commits each.
async fn commits(lake: Lake) {
    let mut table = Curves::new(0, "commits", format!("runs of {RUN} commits of {ROWS} rows"));
    table.place = lake.name;
    let mut source = Source::default();
    let mut made = 0;
    for &until in COMMITS.iter().filter(|until| **until <= lake.commits) {
        while made < until {
            // Costs of all but the last runs are measured and forgotten.
            let mut before = Costs::new();
            let last = until - made <= WINDOW * RUN;
            run(&lake, &mut source, if last { table.at(until) } else { &mut before }).await;
            made += RUN;
        }
        table.note(format!("{until:>7} commits: {}", lake.state().await));
    }
    table.print();
}

/// As a worker makes it: opens, plans, commits after every split.
async fn run(lake: &Lake, source: &mut Source, costs: &mut Costs) {
    let open = async {
        let mut coordinator = lake.coordinator().await;
        assert!(coordinator.resume().await.unwrap().is_none());
        coordinator
    };
    let mut coordinator = lake.cost(costs, "open and resume", open).await;
    lake.cost(costs, "plan", coordinator.begin(source.plan(RUN))).await.unwrap();
    lake.cost(costs, "what is pending", coordinator.pending()).await.unwrap();
    for index in 0..RUN {
        lake.cost(costs, "stage a split", source.stage(&coordinator, index)).await;
        let last = index + 1 == RUN;
        let name = if last { "last commit" } else { "commit" };
        lake.cost(costs, name, coordinator.commit(last)).await.unwrap().unwrap();
    }
}

/// A place for a table, empty at first, and what was asked of it.
struct Lake {
    name: &'static str,
    /// As many as are measured here.
    commits: usize,
    plain: Arc<dyn ObjectStore>,
    store: Arc<dyn ObjectStore>,
    counts: Counts,
    url: Url,
    _folder: Option<TempDir>,
    _server: Option<Server>,
}

impl Lake {
    fn local() -> Self {
        let folder = TempDir::new().unwrap();
        let url = Url::from_directory_path(folder.path()).unwrap();
        let lake = Self::on("a local folder", Arc::new(LocalFileSystem::new()), url);
        Self { _folder: Some(folder), ..lake }
    }

    fn s3() -> Self {
        let server = Server::start();
        let store = AmazonS3Builder::new()
            .with_bucket_name("lake")
            .with_region("us-east-1")
            .with_endpoint(&server.address)
            .with_allow_http(true)
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .unwrap();
        let lake = Self::on("S3 (moto)", Arc::new(store), Url::parse("s3://lake/tables/").unwrap());
        Self { commits: COMMITS_ON_S3, _server: Some(server), ..lake }
    }

    fn on(name: &'static str, plain: Arc<dyn ObjectStore>, url: Url) -> Self {
        let (counted, counts) = Counted::new(Arc::clone(&plain));
        let commits = COMMITS[COMMITS.len() - 1];
        Self { name, commits, plain, store: Arc::new(counted), counts, url, _folder: None, _server: None }
    }

    async fn table(&self) -> Table {
        let location = Location::on_store(Arc::clone(&self.store), self.url.clone()).await.unwrap();
        location.table(&stream()).unwrap()
    }

    async fn coordinator(&self) -> Coordinator {
        let application = ApplicationId::new(&PipelineName::new("bench").unwrap(), &stream());
        let identity =
            Identity { connector: "bench".into(), fingerprint: "1".into(), stream: stream().to_string() };
        Coordinator::open(self.table().await, application, identity).await.unwrap()
    }

    /// Does it, and adds what it cost to what is known under that name.
    async fn cost<T>(&self, costs: &mut Costs, name: &'static str, work: impl Future<Output = T>) -> T {
        let (before, begun) = (self.counts.so_far(), Instant::now());
        let done = work.await;
        let cost = costs.entry(name).or_default();
        cost.milliseconds.add(begun.elapsed().as_secs_f64() * 1e3);
        cost.requests += self.counts.so_far() - before;
        done
    }

    /// How much lies beside the table, in words.
    async fn state(&self) -> String {
        let folder = Path::from_url_path(self.url.path()).unwrap().join("numbers").join("_tidegate");
        let files: Vec<_> = self.plain.list(Some(&folder)).try_collect().await.unwrap();
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        format!("{} files, {:.1} kB in _tidegate", files.len(), bytes as f64 / 1e3)
    }
}

fn stream() -> StreamName {
    StreamName::new("numbers").unwrap()
}

/// An S3 server, as long as this lives.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let interpreter = std::env::var("TIDEGATE_TEST_PYTHON").unwrap();
        let script = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../python/s3_server.py");
        let mut command = Command::new(interpreter);
        command.arg(script).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Numbers without end, [`ROWS`] a split.
#[derive(Default)]
struct Source {
    next: i64,
}

impl Source {
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
        ]))
    }

    fn plan(&self, splits: usize) -> NewPlan {
        let split = |index| Split {
            data: vec![0; 64],
            label: format!("split {index}"),
            estimated_rows: None,
            estimated_bytes: None,
        };
        NewPlan {
            mode: Mode::Incremental,
            write: WriteMode::Append,
            cursor: Some("id".into()),
            lookback: None,
            splits: (0..splits).map(split).collect(),
            token: b"token".to_vec(),
            bookmark: Some(self.next.to_string().into_bytes()),
            upper_bound: Some((self.next + ROWS * splits as i64).to_string()),
            repeatable: true,
            schema: Self::schema(),
        }
    }

    async fn stage(&mut self, coordinator: &Coordinator, split: usize) {
        let ids: Vec<i64> = (self.next + 1..=self.next + ROWS).collect();
        self.next += ROWS;
        let names: StringArray = ids.iter().map(|id| Some(format!("n{id}"))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(names)];
        let mut stager = coordinator.stage().unwrap().open(split, None);
        stager.write(&RecordBatch::try_new(Self::schema(), columns).unwrap()).await.unwrap();
        assert_eq!(stager.finish().await.unwrap().rows, ROWS as u64);
    }
}

/// What one thing cost each time it was done.
#[derive(Default)]
struct Cost {
    milliseconds: Rounds,
    requests: Requests,
}

impl Cost {
    fn times(&self) -> usize {
        self.milliseconds.0.len()
    }

    /// Requests of each kind, each time.
    fn each(&self) -> [f64; KINDS.len()] {
        self.requests.0.map(|requests| requests as f64 / self.times() as f64)
    }
}

type Costs = BTreeMap<&'static str, Cost>;

/// What everything cost, by size.
struct Curves {
    place: &'static str,
    /// Of what there are so and so many.
    of: &'static str,
    how: String,
    sizes: BTreeMap<usize, Costs>,
    /// The least size that the greatest is held against: below it, a commit has less in it.
    base: usize,
    notes: Vec<String>,
}

impl Curves {
    fn new(base: usize, of: &'static str, how: String) -> Self {
        Self { place: "", of, how, sizes: BTreeMap::new(), base, notes: Vec::new() }
    }

    fn at(&mut self, size: usize) -> &mut Costs {
        self.sizes.entry(size).or_default()
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn print(&self) {
        println!("\nBy {}, on {}: {}", self.of, self.place, self.how);
        let names: BTreeSet<_> = self.sizes.values().flat_map(BTreeMap::keys).collect();
        for name in names {
            print!("  {:26}{:>6}{:>11}{:>10}", name, "times", "ms median", "slowest");
            println!("{}", KINDS.map(|kind| format!("{kind:>9}")).concat());
            let line = self.sizes.iter().filter_map(|(size, costs)| Some((*size, costs.get(name)?)));
            for (size, cost) in line.clone() {
                let (median, slowest) = (cost.milliseconds.median(), cost.milliseconds.percentile(100));
                print!("  {:>26}{:>6}{median:>11.1}{slowest:>10.1}", size, cost.times());
                println!("{}", cost.each().map(|requests| format!("{requests:>9.1}")).concat());
            }
            let mut compared = line.filter(|(size, _)| *size >= self.base);
            if let (Some(first), Some(last)) = (compared.next(), compared.next_back()) {
                println!("  {:>26}  {}", "", growth(first, last));
            }
        }
        for note in &self.notes {
            println!("  {note}");
        }
    }
}

/// Which requests are more at the last size than at the first.
fn growth(first: (usize, &Cost), last: (usize, &Cost)) -> String {
    let (before, after) = (first.1.each(), last.1.each());
    let grown: Vec<String> = (0..KINDS.len())
        .filter(|&kind| after[kind] > before[kind] + 0.2)
        .map(|kind| format!("{} {:.1} -> {:.1}", KINDS[kind], before[kind], after[kind]))
        .collect();
    let time = last.1.milliseconds.median() / first.1.milliseconds.median();
    let requests = if grown.is_empty() { "no request grows".to_owned() } else { grown.join(", ") };
    format!("from {} to {}: {requests}; time x{time:.1}", first.0, last.0)
}
