//! Between a request and a run: what a connector asks for, who allows it, and where that is kept.

use tidegate_infrastructure::{DataDir, clock};
use tidegate_model::{CapabilityKind, Code, Fault, Permission, Result, Task, WorkOrder, short_digest};
use tidegate_permission::{
    Action, Authorizer, Ceiling, Grants, Lock, Locked, Principal, Requested, Resource, Review, Standing,
};

use crate::command::Context;
use crate::operator::Operator;
use crate::plugins::{self, Plugin};
use crate::project::Project;
use crate::render;
use crate::terminal::Terminal;
use crate::work;

/// What happens to a request that nobody granted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Whoever sits at the terminal is asked. Where nobody does, the answer is no.
    Ask,
    /// It is granted, as far as the ceiling allows.
    Given,
}

impl Consent {
    pub fn new(given: bool) -> Self {
        if given { Self::Given } else { Self::Ask }
    }
}

/// A pipeline's order, once its connector is found and may do what it cannot work without: because
/// `grants.yaml` says so, or because whoever was asked did. Both the component and what it may do are left in
/// `tidegate.lock`.
pub fn obtain(cx: &Context, project: &Project, consent: Consent, task: Task) -> Result<WorkOrder> {
    let terminal = cx.terminal;
    let plugin = find(project)?;
    let mut order = WorkOrder { began: cx.began, ..work::order(project, plugin.component.clone(), task)? };
    let operator = Operator::new(&project.data_dir, Some(&order.run));
    operator.may(Action::RunStart, &Resource::Pipeline(order.pipeline.clone()))?;

    let mut grants = Grants::load(project.grants())?;
    let mut review = review(&plugin, &order, &grants)?;
    let mut lock = Lock::load(project.lock())?;
    // Where the grants tell of the change, the request or the refusal says so.
    if let (None, Locked::Changed { from }) = (review.change(), lock.check(&order.pipeline, &order.component))
    {
        let (from, to) = (short_digest(&from), short_digest(&order.component.digest));
        terminal.say(&format!("note: the component is not the one of the last run: {from} -> {to}\n"));
    }
    // What is optional is asked for together with what is required, and does not stop a run that can do
    // without.
    if !review.missing_required().is_empty() {
        terminal.say(&render::request(&order, &review, terminal.side_paint()));
        if is_given(terminal, consent, &review)? {
            let note = (consent == Consent::Given).then_some("given in advance, without a question");
            if consent == Consent::Ask {
                // Somebody thought about it, and pressed Enter again: the run begins here.
                order.began = clock::steady();
            }
            operator.grant(&mut grants, review.grant_to_add(), note)?;
            terminal.say(&format!("Granted, and kept in {}.\n\n", grants.path().display()));
            review = self::review(&plugin, &order, &grants)?;
        }
    }
    order.source = review.requested();
    order.permissions = review.effective();
    put_on_record(&order, &review)?;
    order.permissions = review.require(&grants)?;
    lock.set(&order.pipeline, &order.component, &order.permissions)?;
    Ok(order)
}

/// Grants what a pipeline's connector asks for, and runs nothing. Gives what was granted; none when there was
/// nothing to grant.
pub fn grant_only(
    terminal: Terminal,
    project: &Project,
    consent: Consent,
) -> Result<Option<Vec<Permission>>> {
    let plugin = find(project)?;
    let order = work::order(project, plugin.component.clone(), Task::Check)?;
    let operator = Operator::new(&project.data_dir, None);
    let mut grants = Grants::load(project.grants())?;
    let review = review(&plugin, &order, &grants)?;
    if review.missing().is_empty() {
        review.require(&grants)?;
        return Ok(None);
    }
    terminal.say(&render::request(&order, &review, terminal.side_paint()));
    if !is_given(terminal, consent, &review)? {
        return review.require(&grants).map(|_| None);
    }
    let grant = review.grant_to_add();
    let allowed = grant.allow.clone();
    operator.grant(&mut grants, grant, None)?;
    Ok(Some(allowed))
}

/// A pipeline's order as far as it says whose state is whose: with all that its connector requests and that
/// can be granted, whether it is granted today or not. Nothing is to be run with it.
pub fn identify(project: &Project) -> Result<WorkOrder> {
    let plugin = find(project)?;
    let mut order = work::order(project, plugin.component.clone(), Task::Check)?;
    order.source = review(&plugin, &order, &Grants::none())?.requested();
    Ok(order)
}

/// All that a component requests and that can be granted: for one order, and kept nowhere but in the audit.
pub fn for_a_test(plugin: &Plugin, order: &WorkOrder, data_dir: &DataDir) -> Result<Vec<Permission>> {
    let review = review(plugin, order, &Grants::none())?;
    let grant = review.grant_to_add();
    let operator = Operator::new(data_dir, Some(&order.run));
    operator.may(Action::PluginLoad, &Resource::Plugin(order.component.digest.clone()))?;
    operator.may_grant(&grant)?;
    Ok(grant.allow)
}

/// The component that the pipeline asks for.
pub fn find(project: &Project) -> Result<Plugin> {
    plugins::resolve(&project.pipeline.extract.connector, &project.folder, &project.data_dir)
}

fn review(plugin: &Plugin, order: &WorkOrder, grants: &Grants) -> Result<Review> {
    let manifest = &plugin.inspection.manifest;
    let ceiling = Ceiling::developer();
    Review::of(manifest, &order.component, &order.pipeline, &order.config, grants, &ceiling)
        .map_err(|fault| explained(fault, order))
}

/// A configuration that does not fill the request may have a misspelt key, or the request may be for a key
/// that there cannot be. The component's schema tells; without any permission, it is asked for it.
fn explained(fault: Fault, order: &WorkOrder) -> Fault {
    if fault.code != Code::BadConfig {
        return fault;
    }
    let order = WorkOrder { task: Task::Spec, permissions: Vec::new(), ..order.clone() };
    match work::carry_out(&order, |_| ()) {
        Err(cause) if matches!(cause.code, Code::UnknownKey | Code::BadConfig | Code::BadRequest) => cause,
        _ => match &order.document {
            Some(document) => document.blame(&[], fault),
            None => fault,
        },
    }
}

fn is_given(terminal: Terminal, consent: Consent, review: &Review) -> Result<bool> {
    // No question whose answer cannot let the run go on.
    let enough = review.missing_required().iter().all(|line| line.standing == Standing::Missing);
    match consent {
        Consent::Given => Ok(enough),
        Consent::Ask => Ok(enough && terminal.asks() && terminal.ask("Grant this?")?),
    }
}

/// Asks in the connector's name for what it cannot work without and was not granted. The answer is no, and is
/// in the audit.
fn put_on_record(order: &WorkOrder, review: &Review) -> Result<()> {
    let missing = review.missing_required();
    if missing.is_empty() {
        return Ok(());
    }
    let connector = Principal::plugin(&order.component, &order.pipeline);
    let authorizer = Authorizer::for_worker(order)?;
    for line in missing {
        let (action, resource) = first_question(line);
        // `Review::require` says what the refusal means, and how to mend it.
        let _ = authorizer.decide(&connector, action, &resource);
    }
    Ok(())
}

fn first_question(line: &Requested) -> (Action, Resource) {
    let target = line.target.clone().unwrap_or_default();
    match line.kind {
        CapabilityKind::Files => (Action::FilesList, Resource::Location(target)),
        CapabilityKind::Http => {
            (Action::HttpRequest, Resource::Endpoint { method: "GET".to_owned(), url: target })
        }
        CapabilityKind::Decode => (Action::DecodeUse, Resource::Decoder),
    }
}
