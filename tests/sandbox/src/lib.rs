//! A bench on which components are run as a worker would run them, without a worker.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

mod impostor;
mod postgres;
mod safe;
mod server;
mod vault;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::StreamExt;
use serde_json::Value;
use tidegate_extraction::{Extractor, Output, Plan, Reading, Request};
use tidegate_model::{
    Binding, CapabilityKind, ComponentRef, Fault, Limits, Mode, Permission, PipelineName, Reject, RunId,
    Task, WorkOrder,
};
use tidegate_permission::{Authorizer, NoVault, Principal, Vault};
use tidegate_sandbox::{Compiler, LogLine, Sandbox, Settings, Setup, digest};
use tokio::sync::mpsc;

pub use impostor::impostor;
pub use postgres::{PASSWORD, Postgres};
pub use safe::Safe;
pub use server::{Asked, Said, Server};
pub use tidegate_guest_roundtrip::marker;
pub use vault::Kept;

pub const ROUNDTRIP: &str = env!("COMPONENT_ROUNDTRIP");
pub const CONTRADICTION: &str = env!("COMPONENT_CONTRADICTION");
pub const OFFTHESHELF: &str = env!("COMPONENT_OFFTHESHELF");
pub const WIRE: &str = env!("COMPONENT_WIRE");
pub const FILES: &str = env!("COMPONENT_FILES");

/// A sandbox with a folder of its own.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub sandbox: Sandbox,
}

/// What a reading gave.
#[derive(Debug, Default)]
pub struct Read {
    pub batches: Vec<RecordBatch>,
    pub rejects: Vec<Reject>,
    /// With the number of batches before each.
    pub checkpoints: Vec<(Vec<u8>, usize)>,
    pub fault: Option<Fault>,
}

impl Read {
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::with(|_| ())
    }
}

impl Bench {
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Compiled once for all tests: what is kept is known by content.
        let cache = std::env::temp_dir().join("tidegate-sandbox-tests");
        let mut settings = Settings::new(cache).unwrap();
        settings.compiler = Compiler::InProcess;
        settings.compute = Duration::from_millis(300);
        change(&mut settings);
        Self { sandbox: Sandbox::new(settings).unwrap(), folder }
    }

    pub fn reference(path: &str) -> ComponentRef {
        let digest = digest(&std::fs::read(path).unwrap());
        let name = "tested".to_owned();
        let version = semver::Version::new(0, 1, 0);
        ComponentRef { name, version, digest, path: PathBuf::from(path), publisher: None }
    }

    pub async fn extractor(
        &self,
        component: &str,
        config: Value,
        grants: &[(CapabilityKind, &str)],
    ) -> Extractor {
        self.listened(component, config, grants).await.0
    }

    pub async fn listened(
        &self,
        component: &str,
        config: Value,
        grants: &[(CapabilityKind, &str)],
    ) -> (Extractor, mpsc::Receiver<LogLine>) {
        let reference = Self::reference(component);
        let (setup, lines) = self.setup(&reference, config, grants);
        let component = self.sandbox.load(&reference).await.unwrap();
        (Extractor::new(component, setup), lines)
    }

    /// One with secrets: what it may do, and what its slots are bound to.
    pub async fn trusted(
        &self,
        component: &str,
        config: Value,
        permissions: Vec<Permission>,
        vault: impl Vault + 'static,
    ) -> (Extractor, mpsc::Receiver<LogLine>) {
        let reference = Self::reference(component);
        let (setup, lines) = self.setup_with(&reference, config, permissions, Arc::new(vault));
        let component = self.sandbox.load(&reference).await.unwrap();
        (Extractor::new(component, setup), lines)
    }

    /// What was decided in this bench's folder, as the audit has it.
    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(".tidegate/audit.jsonl")).unwrap()
    }

    /// What a component says while it checks its source, and how that ends.
    pub async fn checked(
        &self,
        component: &str,
        config: Value,
        permissions: Vec<Permission>,
        vault: Arc<dyn Vault>,
    ) -> (Vec<String>, Result<(), Fault>) {
        let reference = Self::reference(component);
        let (setup, mut lines) = self.setup_with(&reference, config, permissions, vault);
        let component = self.sandbox.load(&reference).await.unwrap();
        let extractor = Extractor::new(component, setup);
        let ended = extractor.check().await;
        // Its last handle on the log: then the lines have an end.
        drop(extractor);
        let mut told = Vec::new();
        while let Some(line) = lines.recv().await {
            told.push(line.message);
        }
        (told, ended)
    }

    /// In whose name it runs, and what it says.
    pub fn setup(
        &self,
        component: &ComponentRef,
        config: Value,
        grants: &[(CapabilityKind, &str)],
    ) -> (Setup, mpsc::Receiver<LogLine>) {
        let permissions = grants
            .iter()
            .map(|(kind, target)| Permission::new(*kind, kind.has_target().then(|| (*target).to_owned())));
        self.setup_with(component, config, permissions.collect(), Arc::new(NoVault))
    }

    /// The same, with permissions of every kind, and secrets.
    pub fn setup_with(
        &self,
        component: &ComponentRef,
        config: Value,
        permissions: Vec<Permission>,
        vault: Arc<dyn Vault>,
    ) -> (Setup, mpsc::Receiver<LogLine>) {
        let order = WorkOrder {
            run: RunId::new("test").unwrap(),
            began: Duration::ZERO,
            pipeline: PipelineName::new("test").unwrap(),
            component: component.clone(),
            config: config.clone(),
            secrets: BTreeMap::new(),
            document: None,
            permissions,
            grants: None,
            ceiling: Default::default(),
            on_behalf_of: None,
            rehearsal: false,
            trace: None,
            columns: BTreeMap::new(),
            limits: Limits { memory: Some(64 << 20), parallelism: None },
            base: self.folder.path().to_owned(),
            source: Vec::new(),
            data_dir: self.folder.path().join(".tidegate"),
            task: Task::Check,
        };
        let (log, lines) = mpsc::channel(1000);
        let setup = Setup {
            hidden: Vec::new(),
            authorizer: Arc::new(Authorizer::for_worker(&order).unwrap()),
            principal: Principal::plugin(component, &order.pipeline),
            limits: order.limits,
            base: order.base,
            config,
            credentials: order.permissions.into_iter().filter(|one| one.binding.is_some()).collect(),
            vault,
            log,
        };
        (setup, lines)
    }
}

/// A slot, bound to a secret that only the vault knows.
pub fn credential(slot: &str, place: &str, target: &str) -> Permission {
    let secret = format!("store:{slot}").parse().unwrap();
    let binding = Binding { slot: slot.to_owned(), secret, place: place.parse().unwrap() };
    let target = Some(target.to_owned());
    Permission { binding: Some(binding), ..Permission::new(CapabilityKind::Credential, target) }
}

pub fn request(stream: &str) -> Request {
    let stream = stream.to_owned();
    Request { stream, mode: Mode::Full, cursor: None, key: Vec::new(), since: None, bookmark: None }
}

pub async fn plan(extractor: &Extractor, stream: &str) -> Result<Plan, Fault> {
    extractor.start(&request(stream)).await?.plan().await
}

pub async fn drain(mut reading: Reading) -> Read {
    let mut read = Read::default();
    while let Some(output) = reading.next().await {
        match output {
            Ok(Output::Open { .. }) => {}
            Ok(Output::Batch { batch, rejects }) => {
                read.batches.push(batch);
                read.rejects.extend(rejects);
            }
            Ok(Output::Rejects(rejects)) => read.rejects.extend(rejects),
            Ok(Output::Checkpoint(state)) => read.checkpoints.push((state.to_vec(), read.batches.len())),
            Err(fault) => read.fault = Some(fault),
        }
    }
    read
}
