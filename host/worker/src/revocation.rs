//! Permissions that are taken back while a run uses them.

use std::time::Duration;

use tidegate_infrastructure::clock;
use tidegate_model::{Code, Fault, Permission, Result, WorkOrder, list};
use tidegate_permission::{Authorizer, Grants};

/// How often the grants are looked at: what is taken back reaches a run well within a second.
const EVERY: Duration = Duration::from_millis(300);
/// After so many looks in a row at a file that cannot be read, three seconds, nothing counts as granted.
const PATIENCE: u32 = 10;

/// Waits until something is taken back that the order permits, or its component is revoked, and gives the fault that
/// ends the run. A grant
/// that is over counts as taken back; a file that cannot be read for a moment, as when somebody is editing it,
/// does not, but one that stays so does.
pub async fn revoked(order: &WorkOrder, authorizer: &Authorizer) -> Fault {
    let Some(path) = &order.grants else { return std::future::pending().await };
    let mut unread = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(fault) = authorizer.still_loads(&order.component.digest) {
            return authorizer.narrow(order, &[]).err().unwrap_or(fault);
        }
        let grants = match Grants::load(path) {
            Ok(grants) => grants,
            Err(_) if unread < PATIENCE => {
                unread += 1;
                continue;
            }
            Err(fault) => {
                let why = format!(
                    "what {} may do cannot be read any more: {}",
                    order.component.name, fault.message
                );
                let fault = Fault { message: why, code: Code::Revoked, ..fault };
                return authorizer.narrow(order, &[]).err().unwrap_or(fault);
            }
        };
        unread = 0;
        let (kept, lost) = sort(order, &grants);
        let columns = grants.columns(&order.pipeline, &order.component);
        if lost.is_empty() && columns == order.columns {
            continue;
        }
        // First of all, so that nothing is allowed any more while the run is being ended.
        if let Err(fault) = authorizer.narrow(order, &kept) {
            return fault;
        }
        let mut lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
        if lost.is_empty() {
            lost.push("the columns that it may pass on".to_owned());
        }
        let why =
            format!("what {} may do was taken back while it ran: {}", order.component.name, list(&lost));
        return Fault::user(Code::Revoked, why)
            .help("what was committed stays; once it is granted again, the same command goes on from there");
    }
}

/// Ends some work as soon as something is taken back that it may use.
pub async fn until_revoked<T>(
    order: &WorkOrder,
    authorizer: &Authorizer,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        fault = revoked(order, authorizer) => Err(fault),
    }
}

/// What of an order's permissions is still granted, and what is not.
fn sort(order: &WorkOrder, grants: &Grants) -> (Vec<Permission>, Vec<Permission>) {
    let now = clock::now();
    order.permissions.iter().cloned().partition(|permission| {
        grants
            .allowances(&order.pipeline, &order.component, permission, now)
            .iter()
            .any(|allowed| allowed.permission == *permission)
    })
}
