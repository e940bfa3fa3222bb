//! Between a request and a run: what a connector asks for, who allows it, and where that is kept.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_infrastructure::clock;
use tidegate_model::{
    CapabilityKind, Code, Fault, Permission, Result, StreamName, Task, WorkOrder, list, short_digest,
    suggestion, tame,
};
use tidegate_permission::{
    Action, Authorizer, Ceiling, Choice, Grants, Lock, Locked, Principal, Requested, Resource, Review,
    Socket, Standing,
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
    /// Nothing is granted, and for this once nothing is denied that could be: the run tells what it used.
    Rehearsal,
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
    let mut plugin = find(project)?;
    let mut order = WorkOrder { began: cx.began, ..work::order(project, plugin.component.clone(), task)? };
    let operator = Operator::who_orders(&mut order)?;
    operator.may(Action::RunStart, &Resource::Pipeline(order.pipeline.clone()))?;
    plugins::may_load(&operator, &plugin)?;

    let mut grants = Grants::load(project.grants())?;
    let mut review = review(&plugin, &order, &grants)?;
    if consent == Consent::Ask
        && !review.missing_required().is_empty()
        && let Some(approved) = approved_before(project, &plugin, &order, &grants)?
    {
        let (waiting, component) = (&plugin.component, &approved.component);
        terminal.say(&format!(
            "note: {} {} waits for approval, and {} runs until then; `tidegate grant diff` shows what is new\n",
            tame(&waiting.name),
            waiting.version,
            component.version
        ));
        plugins::may_load(&operator, &approved)?;
        order.component = component.clone();
        review = self::review(&approved, &order, &grants)?;
        plugin = approved;
    }
    let mut lock = Lock::load(project.lock())?;
    // Where the grants tell of the change, the request or the refusal says so.
    if let (None, Locked::Changed { from }) = (review.change(), lock.check(&order.pipeline, &order.component))
    {
        let (from, to) = (short_digest(&from), short_digest(&order.component.digest));
        terminal.say(&format!("note: the component is not the one of the last run: {from} -> {to}\n"));
    }
    // What is optional is asked for together with what is required, and does not stop a run that can do
    // without.
    // What is granted from here on is granted on these terms.
    order.limits = order.limits.narrowed(&grants.limits(&order.pipeline, &order.component));
    order.columns = columns(project, &order, &grants)?;
    if consent == Consent::Rehearsal {
        return rehearsed(order, &operator, &review);
    }
    if !review.missing_required().is_empty() {
        terminal.say(&render::request(&order, &review, terminal.side_paint()));
        if is_given(terminal, consent, &review)? {
            let note = (consent == Consent::Given).then_some("given in advance, without a question");
            if consent == Consent::Ask {
                // Somebody thought about it, and pressed Enter again: the run begins here.
                order.began = clock::steady();
            }
            operator.grant(&mut grants, review.grant_to_add(), is_signed(&order), note)?;
            terminal.say(&format!("Granted, and kept in {}.\n\n", grants.path().display()));
            review = self::review(&plugin, &order, &grants)?;
        }
    }
    order.source = review.requested();
    order.permissions = review.effective();
    put_on_record(&order, &review)?;
    order.permissions = review.require(&grants)?;
    order.grants = Some(grants.path().to_owned());
    lock.set(&order.pipeline, &order.component, &order.permissions)?;
    Ok(order)
}

/// The columns that streams are narrowed to. What the pipeline itself needs must be among them.
fn columns(
    project: &Project,
    order: &WorkOrder,
    grants: &Grants,
) -> Result<BTreeMap<StreamName, BTreeSet<String>>> {
    let columns = grants.columns(&order.pipeline, &order.component);
    for (name, spec) in &project.pipeline.extract.streams {
        let Some(granted) = columns.get(name) else { continue };
        let needed = spec.cursor.iter().chain(&spec.key);
        if let Some(column) = needed.into_iter().find(|column| !granted.contains(*column)) {
            let granted: Vec<String> = granted.iter().cloned().collect();
            let why =
                format!("stream `{name}` needs its column `{column}`, and granted are {}", list(&granted));
            return Err(Fault::user(Code::NotGranted, why)
                .help(format!("add `{column}` to the columns of `{name}` in {}", grants.path().display())));
        }
    }
    Ok(columns)
}

/// The version before an update that asks for more, as long as it may do all that it needs: it goes on running
/// until somebody approves the new one.
fn approved_before(
    project: &Project,
    update: &Plugin,
    order: &WorkOrder,
    grants: &Grants,
) -> Result<Option<Plugin>> {
    let requirement = &project.pipeline.extract.connector;
    for plugin in plugins::older(requirement, &update.component.version, &project.data_dir)? {
        let order = WorkOrder { component: plugin.component.clone(), ..order.clone() };
        if review(&plugin, &order, grants)?.missing_required().is_empty() {
            return Ok(Some(plugin));
        }
    }
    Ok(None)
}

/// An order for which all that can be granted is, once, and nothing is kept but in the audit.
fn rehearsed(order: WorkOrder, operator: &Operator, review: &Review) -> Result<WorkOrder> {
    let grant = review.grant_of_all();
    operator.may_grant(&grant, is_signed(&order))?;
    let source = review.requested();
    Ok(WorkOrder { source, permissions: grant.allow, rehearsal: true, ..order })
}

fn is_signed(order: &WorkOrder) -> bool {
    order.component.publisher.is_some()
}

/// Grants what a pipeline's connector asks for, or the chosen part of it, and runs nothing. Gives what was
/// granted; none when there was nothing to grant.
pub fn grant_only(
    terminal: Terminal,
    project: &Project,
    consent: Consent,
    choice: &Choice,
) -> Result<Option<Vec<Permission>>> {
    let plugin = find(project)?;
    let operator = Operator::new(&project.data_dir, None)?;
    plugins::may_load(&operator, &plugin)?;
    let Reviewed { order, review, mut grants } = reviewed(project, &plugin)?;
    let streams = &project.pipeline.extract.streams;
    if let Some(stream) = choice.columns.keys().find(|stream| !streams.contains_key(*stream)) {
        let why = format!("the pipeline has no stream `{stream}` whose columns could be granted");
        let help = suggestion(stream.as_str(), streams.keys().map(StreamName::as_str));
        return Err(Fault::user(Code::BadUsage, why).help(help));
    }
    let grant = review.grant_of(choice, &order.component)?;
    let granted = review.effective();
    let already = grant.allow.iter().all(|permission| granted.contains(permission));
    if already && !choice.publisher && choice.expires.is_none() && choice.columns.is_empty() {
        review.require(&grants)?;
        for line in review.requests.iter().filter(|line| line.is_granted_in_part()) {
            let id = tame(&line.id);
            terminal.say(&format!("note: a part of `{id}` is granted; `--only {id}` grants all of it\n"));
        }
        return Ok(None);
    }
    terminal.say(&render::request(&order, &review, terminal.side_paint()));
    if choice.is_narrow() {
        let parts: Vec<String> = grant.allow.iter().map(Permission::to_string).collect();
        let columns = grant.columns.iter().map(|(stream, columns)| {
            let columns: Vec<String> = columns.iter().cloned().collect();
            format!("; of {stream} only {}", list(&columns))
        });
        let columns: String = columns.collect();
        terminal.say(&format!("Of this, you grant: {}{}\n\n", tame(&list(&parts)), tame(&columns)));
    }
    if !is_given(terminal, consent, &review)? {
        review.require_by(&grants, &grant)?;
        // Of what is optional.
        let why = format!("nobody said yes, and nothing was granted to {}", order.component.name);
        return Err(Fault::user(Code::NotGranted, tame(&why)).help("without a question: add --yes"));
    }
    let allowed = grant.allow.clone();
    operator.grant(&mut grants, grant, is_signed(&order), None)?;
    Ok(Some(allowed))
}

/// A pipeline's request beside its grants, for people to look at.
pub struct Reviewed {
    pub order: WorkOrder,
    pub review: Review,
    pub grants: Grants,
}

pub fn reviewed(project: &Project, plugin: &Plugin) -> Result<Reviewed> {
    let mut order = work::order(project, plugin.component.clone(), Task::Check)?;
    let grants = Grants::load(project.grants())?;
    let review = review(plugin, &order, &grants)?;
    order.permissions = review.effective();
    order.source = review.requested();
    order.grants = Some(grants.path().to_owned());
    order.columns = grants.columns(&order.pipeline, &order.component);
    Ok(Reviewed { order, review, grants })
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
pub fn for_a_test(plugin: &Plugin, order: &mut WorkOrder) -> Result<Vec<Permission>> {
    let operator = Operator::who_orders(order)?;
    plugins::may_load(&operator, plugin)?;
    let review = review(plugin, order, &Grants::none())?;
    let grant = review.grant_to_add();
    operator.may_grant(&grant, is_signed(order))?;
    Ok(grant.allow)
}

/// The component that the pipeline asks for.
pub fn find(project: &Project) -> Result<Plugin> {
    plugins::resolve(&project.pipeline.extract.connector, &project.folder, &project.data_dir)
}

fn review(plugin: &Plugin, order: &WorkOrder, grants: &Grants) -> Result<Review> {
    let manifest = &plugin.inspection.manifest;
    let ceiling = Ceiling::of_this_machine()?;
    let secrets = &order.secrets;
    Review::of(manifest, &order.component, &order.pipeline, &order.config, secrets, grants, &ceiling)
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
        Consent::Given | Consent::Rehearsal => Ok(enough),
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
        CapabilityKind::Tcp => match Socket::parse(&target) {
            Some(socket) => {
                let (host, port) = (socket.host().to_string(), socket.port());
                (Action::TcpConnect, Resource::Socket { host, port })
            }
            // Asked about something else than the action goes with, the answer is no.
            None => (Action::TcpConnect, Resource::Location(target)),
        },
        CapabilityKind::Credential => match line.binding.clone() {
            Some(binding) => (Action::CredentialUse, Resource::Credential { binding, endpoint: target }),
            None => (Action::CredentialUse, Resource::Store),
        },
        CapabilityKind::Decode => (Action::DecodeUse, Resource::Decoder),
    }
}
