//! Panics of code that is not ours, as values.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Runs it, and catches its panic: the words of it. They are told as a fault is, and not on stderr as well.
pub(super) fn contained<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                usual(panic);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    // What a panic leaves half done is not used any more: the store is closed to everybody after one.
    let outcome = panic::catch_unwind(AssertUnwindSafe(act));
    CONTAINED.set(outer);
    outcome.map_err(|panic| words(&*panic))
}

fn words(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<String>() {
        return text.clone();
    }
    panic.downcast_ref::<&str>().map_or_else(|| "it panicked".to_owned(), |text| (*text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value() {
        assert_eq!(contained(|| 7), Ok(7));
        assert_eq!(contained(|| -> u8 { panic!("page {}", 3) }), Err("page 3".to_owned()));
        assert_eq!(contained(|| -> u8 { panic!("plain") }), Err("plain".to_owned()));
    }
}
