//! What a component says of itself when it is asked, in a worker and without any permission.

use serde_json::Value;
use tidegate_infrastructure::DataDir;
use tidegate_model::{
    Answer, ComponentRef, ConfigKey, Manifest, Result, StreamInfo, Task, WorkerEvent, World,
};

use super::Context;
use crate::operator::Operator;
use crate::plugins::Plugin;
use crate::progress::Progress;
use crate::work::{self, End};

/// What a component says of its configuration. Of a kind that nobody runs yet: nothing.
#[derive(Default)]
pub struct Spec {
    pub config: Vec<ConfigKey>,
    pub config_schema: Value,
    pub secrets: Vec<String>,
}

/// Asks for its specification. The worker checks the component in full, compiles it within limits, and refuses
/// one whose request does not agree with what it answers.
pub fn spec(cx: &Context, plugin: &Plugin, data_dir: &DataDir) -> Result<Spec> {
    if plugin.inspection.manifest.world != World::Extractor {
        return Ok(Spec::default());
    }
    match ask(cx, plugin, data_dir, Task::Spec)? {
        Answer::Spec { config, config_schema, secrets } => Ok(Spec { config, config_schema, secrets }),
        _ => Err(work::out_of_place()),
    }
}

/// The streams of one that needs neither configuration nor permission to tell them.
pub fn streams(
    cx: &Context,
    plugin: &Plugin,
    spec: &Spec,
    data_dir: &DataDir,
) -> Result<Option<Vec<StreamInfo>>> {
    let Manifest { world, capabilities, .. } = &plugin.inspection.manifest;
    let free = capabilities.iter().all(|capability| !capability.required)
        && spec.config.iter().all(|key| !key.required);
    if *world != World::Extractor || !free {
        return Ok(None);
    }
    Ok(match ask(cx, plugin, data_dir, Task::Discover) {
        Ok(Answer::Streams(streams)) => Some(streams),
        Ok(_) => return Err(work::out_of_place()),
        // It needs something after all.
        Err(_) => None,
    })
}

fn ask(cx: &Context, plugin: &Plugin, data_dir: &DataDir, task: Task) -> Result<Answer> {
    let component: ComponentRef = plugin.component.clone();
    let mut order = work::order_without_pipeline(component, "inspection", data_dir, task)?;
    crate::plugins::may_load(&Operator::who_orders(&mut order)?, plugin)?;
    let mut progress = Progress::new(cx.terminal);
    let end = work::carry_out(&order, |event: &WorkerEvent| progress.on(event));
    progress.close();
    match end? {
        End::Answered(answer) => Ok(answer),
        End::Ran(_) => Err(work::out_of_place()),
    }
}
