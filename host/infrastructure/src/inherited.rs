#![expect(unsafe_code, reason = "file descriptors by number, which no safe interface knows")]

/// Keeps open files that this process inherited (from a shell, a build tool) from its children: they get
/// their three standard streams and nothing else. What Rust opens is never inherited; this is about what
/// somebody else opened.
///
/// On a kernel before 5.11 it does nothing.
pub(crate) fn keep_to_ourselves() {
    const FIRST: libc::c_uint = 3;
    const CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: marks descriptors as closed at exec; closes none, reads and writes no memory.
    unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, CLOEXEC);
    }
}
