//! Why an instance ended, in words.

use tidegate_model::{Code, Fault};
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::meter::Ledger;
use crate::wasi::Printed;

/// The fault behind an error of the engine, as far as the error alone tells.
pub(crate) fn in_words(error: &wasmtime::Error) -> Fault {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.clone();
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Fault::internal(code(*trap), format!("the connector crashed: {}", words(*trap)));
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Fault::internal(
            Code::ConnectorFailed,
            format!("the connector ended itself with status {} instead of returning", exit.0),
        );
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return too_many_handles();
    }
    let text = error.root_cause().to_string();
    let code = if is_limit(&text) { Code::LimitExceeded } else { Code::ConnectorFailed };
    Fault::internal(code, format!("the connector broke the contract: {text}"))
}

pub(crate) fn too_many_handles() -> Fault {
    Fault::internal(Code::LimitExceeded, "the connector holds more than 4096 handles at once")
}

/// The same, with what is known of the instance: what it printed last, and whether it was refused memory
/// before.
pub(crate) fn explain(error: &wasmtime::Error, ledger: &Ledger, printed: &Printed) -> Fault {
    let gave_up = matches!(error.downcast_ref::<Trap>(), Some(Trap::UnreachableCodeReached));
    if gave_up && ledger.was_exceeded() {
        return ledger.exceeded();
    }
    let fault = in_words(error);
    let tail = tidegate_model::tame(&printed.last_words(2048));
    if tail.is_empty() || !fault_of_guest(&fault) {
        return fault;
    }
    let help = format!("it said last: {tail}");
    fault.help(help)
}

fn fault_of_guest(fault: &Fault) -> bool {
    fault.code == Code::ConnectorFailed && fault.help.is_none()
}

/// The engine has no type of its own for these.
fn is_limit(text: &str) -> bool {
    ["fuel allocated for hostcalls", "limit", "too large", "exceeds", "table has no free keys"]
        .iter()
        .any(|word| text.contains(word))
}

fn code(trap: Trap) -> Code {
    match trap {
        Trap::StackOverflow | Trap::AllocationTooLarge | Trap::OutOfFuel | Trap::Interrupt => {
            Code::LimitExceeded
        }
        _ => Code::ConnectorFailed,
    }
}

fn words(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "it panicked or aborted".to_owned(),
        Trap::StackOverflow => "its stack overflowed".to_owned(),
        Trap::MemoryOutOfBounds => "it reached outside of its memory, or its stack did".to_owned(),
        Trap::IntegerDivisionByZero => "it divided by zero".to_owned(),
        other => other.to_string(),
    }
}
