//! Permissions that are taken back while a run uses them.

use std::time::Duration;

use tidegate_model::{Fault, Result, WorkOrder};
use tidegate_permission::Authorizer;

use crate::vault::WorkerVault;

/// How often it is asked: what is taken back reaches a run well within a second.
const EVERY: Duration = Duration::from_millis(300);

/// Waits until something is taken back that the order permits, or its component is revoked, and gives the fault that
/// ends the run. Whoever gave the order looks: what is granted lies where this process cannot read.
async fn revoked(order: &WorkOrder, authorizer: &Authorizer, desk: &WorkerVault) -> Fault {
    if order.grants.is_none() {
        return std::future::pending().await;
    }
    let fault = loop {
        tokio::time::sleep(EVERY).await;
        match desk.taken_back().await {
            Ok(None) => {}
            Ok(Some(fault)) | Err(fault) => break fault,
        }
    };
    // Nothing is allowed any more while the run is being ended.
    authorizer.narrow(order, &[]).err().unwrap_or(fault)
}

/// Ends some work as soon as something is taken back that it may use.
pub async fn until_revoked<T>(
    order: &WorkOrder,
    authorizer: &Authorizer,
    desk: &WorkerVault,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        fault = revoked(order, authorizer, desk) => Err(fault),
    }
}
