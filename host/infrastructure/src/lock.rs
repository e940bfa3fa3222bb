//! Who may touch a file, among the processes of this machine.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Between two looks at a lock that somebody else holds: the first, and the longest. Short, or whoever waits long is
/// passed by those who come new.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// Takes the lock of an open file, waiting for others at most so long. Says whether it did. It is advisory, it
/// ends with [`unlock`] or when the file is closed, and a process that dies closes its files.
///
/// Nobody waits without end: a process that holds it may have been stopped by whoever debugs it.
pub(crate) fn lock(file: &File, wait: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if begun.elapsed() >= wait => return Ok(false),
            Err(Errno::WOULDBLOCK) => {
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) fn unlock(file: &File) {
    // Of an open file that is locked this does not fail; closing it would do the same.
    let _ = flock(file, FlockOperation::Unlock);
}
