use chrono::{DateTime, Utc};
use tidegate_infrastructure::DataDir;
use tidegate_model::{Code, Fault, Permission, Result, WorkOrder, list};

use crate::{Grants, Revocations};

/// What ends a run that works on this order: one of its permissions is not granted any more, or no longer for these
/// columns, or its component was revoked. `None` while all of it stands.
///
/// A grant that is over counts as taken back. The error, that what is granted cannot be read, may be one of a moment,
/// as when somebody is editing the file: how long it may last is for whoever asks to say.
pub fn taken_back(order: &WorkOrder, data_dir: &DataDir, now: DateTime<Utc>) -> Result<Option<Fault>> {
    // Where that cannot be found out, the component was not revoked: it was looked at when it was loaded.
    if let Ok(Some(revocation)) = Revocations::of(data_dir).find(&order.component.digest) {
        let why = format!("the component was revoked while it ran: {}", revocation.in_words());
        let fault = Fault::user(Code::PluginRevoked, why);
        return Ok(Some(fault.help("what was committed stays; nothing runs it any more")));
    }
    let Some(path) = &order.grants else { return Ok(None) };
    let grants = Grants::load(path)?;
    let mut lost: Vec<String> = order
        .permissions
        .iter()
        .filter(|one| !granted(order, &grants, one, now))
        .map(ToString::to_string)
        .collect();
    if lost.is_empty() && grants.columns(&order.pipeline, &order.component) != order.columns {
        lost.push("the columns that it may pass on".to_owned());
    }
    if lost.is_empty() {
        return Ok(None);
    }
    let why = format!("what {} may do was taken back while it ran: {}", order.component.name, list(&lost));
    Ok(Some(
        Fault::user(Code::Revoked, why)
            .help("what was committed stays; once it is granted again, the same command goes on from there"),
    ))
}

fn granted(order: &WorkOrder, grants: &Grants, permission: &Permission, now: DateTime<Utc>) -> bool {
    let allowed = grants.allowances(&order.pipeline, &order.component, permission, now);
    allowed.iter().any(|allowed| allowed.permission == *permission)
}
