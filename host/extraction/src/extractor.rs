//! An extractor component as the host drives it.

use serde_json::Value;
use tidegate_model::{Counters, Result};
use tidegate_sandbox::{Component, Instance, Reopening, SessionHandle, Setup, Surroundings};
use tokio::sync::Mutex;

use crate::reading::Reading;
use crate::{ConnectorSpec, Plan, Request, StreamDescription, limits};

/// A component, and in whose name it runs. Each question is put to an instance of its own. Cheap to clone.
#[derive(Clone)]
pub struct Extractor {
    component: Component,
    around: Surroundings,
}

/// What came of an interrupted generation.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, for a moment")]
pub enum Reopened {
    /// The splits of its plan can still be read, and mean the same.
    Same(Session),
    /// They cannot, and why.
    Gone(String),
}

impl Extractor {
    pub fn new(component: Component, setup: Setup) -> Self {
        Self { component, around: Surroundings::new(setup) }
    }

    /// The same component with another configuration.
    #[must_use]
    pub fn with_config(&self, config: Value) -> Self {
        Self { component: self.component.clone(), around: self.around.with_config(config) }
    }

    /// What all finished instances used.
    pub fn counters(&self) -> Counters {
        self.around.counters()
    }

    fn config(&self) -> &Value {
        &self.around.setup().config
    }

    async fn instance(&self) -> Result<Instance> {
        self.component.instantiate(&self.around, None).await
    }

    pub async fn spec(&self) -> Result<ConnectorSpec> {
        limits::spec(self.instance().await?.spec().await?)
    }

    /// Can the source be reached with this configuration?
    pub async fn check(&self) -> Result<()> {
        self.instance().await?.check(&self.config().to_string()).await
    }

    pub async fn discover(&self) -> Result<Vec<StreamDescription>> {
        limits::streams(self.instance().await?.discover(&self.config().to_string()).await?)
    }

    /// Opens a session for a new generation.
    pub async fn start(&self, request: &Request) -> Result<Session> {
        let mut instance = self.instance().await?;
        let handle = instance.start(&request.to_wit(self.config())).await?;
        Ok(Session { instance: Mutex::new(instance), handle })
    }

    /// After a restart: the generation whose plan had this token.
    pub async fn reopen(&self, request: &Request, token: &[u8]) -> Result<Reopened> {
        let mut instance = self.instance().await?;
        Ok(match instance.reopen(&request.to_wit(self.config()), token).await? {
            Reopening::Same(handle) => Reopened::Same(Session { instance: Mutex::new(instance), handle }),
            Reopening::Gone(why) => Reopened::Gone(limits::line(&why, limits::MAX_TEXT)),
        })
    }

    /// Reads a split from its beginning, or from where a checkpoint was taken. Nothing runs before the stream
    /// is polled; dropping it ends the instance.
    pub fn read(&self, request: &Request, split: &[u8], from: Option<&[u8]>) -> Reading {
        let request = request.to_wit(self.config());
        Reading::new(self.component.clone(), self.around.clone(), request, split.into(), from.map(Into::into))
    }
}

/// A generation's session. Its instance lives as long as this, and may hold what the splits need; so drop it
/// after the last commit.
pub struct Session {
    instance: Mutex<Instance>,
    handle: SessionHandle,
}

impl Session {
    /// Asked once.
    pub async fn plan(&self) -> Result<Plan> {
        limits::plan(self.instance.lock().await.plan(self.handle).await?)
    }

    /// Lets the component give back what it holds at the source, such as a snapshot. Dropping the session
    /// ends it too, abruptly.
    pub async fn end(self) -> Result<()> {
        self.instance.into_inner().end(self.handle).await
    }
}
