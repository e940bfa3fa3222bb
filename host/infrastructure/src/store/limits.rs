//! How large things in a store may be. Every implementation has the same limits, so that what one takes another
//! does too.

use tidegate_model::{Code, Fault, Result};

use super::Write;

/// Bytes of a key. There is at least one.
pub(super) const MAX_KEY: usize = 1024;
/// Bytes of a value.
pub(super) const MAX_VALUE: usize = 16 << 20;
/// Bytes of all keys and values of a batch.
pub(super) const MAX_BATCH: usize = 64 << 20;

/// Refuses what no store takes. Nothing of it is written then.
pub fn check_writes(writes: &[Write]) -> Result<()> {
    let mut total = 0;
    for write in writes {
        let (key, value) = (write.key.len(), write.value.as_ref().map_or(0, Vec::len));
        if key == 0 || key > MAX_KEY {
            return Err(refused(write, &format!("a key of {key} bytes; it has 1 to {MAX_KEY}")));
        }
        if value > MAX_VALUE {
            return Err(refused(write, &format!("a value of {value} bytes; it has {MAX_VALUE} at most")));
        }
        total += key + value;
        if total > MAX_BATCH {
            return Err(refused(write, &format!("a batch of more than {MAX_BATCH} bytes")));
        }
    }
    Ok(())
}

fn refused(write: &Write, what: &str) -> Fault {
    Fault::internal(Code::Bug, format!("the store's table `{}` was to take {what}", write.table.name()))
}
