//! Programs that take more than they may.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::time::Duration;

use tidegate_infrastructure::{Ending, Output, ProcessLimits, run_limited};

const LIMITS: ProcessLimits = ProcessLimits {
    address_space: 1 << 30,
    cpu: Duration::from_secs(30),
    wall: Duration::from_secs(30),
    output: 1 << 20,
};

async fn run(script: &str, stdin: &[u8], limits: &ProcessLimits) -> Output {
    run_limited(Path::new("/bin/sh"), &["-c", script], stdin.to_vec(), limits).await.unwrap()
}

#[tokio::test]
async fn input_goes_in_output_comes_out() {
    let stdin = vec![b'x'; 500_000];
    let output = run("cat; echo done >&2; exit 4", &stdin, &LIMITS).await;
    assert_eq!(output.ending, Ending::Exit(4));
    assert_eq!(output.stderr, "done");
    assert_eq!(output.stdout, stdin);
    // One that does not want its input is no mistake of ours.
    assert_eq!(run("exit 0", &stdin, &LIMITS).await.ending, Ending::Success);
}

#[tokio::test]
async fn limits_stand_before_the_first_byte_of_input() {
    let output = run("read word; ulimit -v; ulimit -c; ulimit -t; echo $word", b"go\n", &LIMITS).await;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1048576\n0\n30\ngo\n");
}

#[tokio::test]
async fn who_takes_too_much_is_stopped() {
    let soon = ProcessLimits { wall: Duration::from_millis(300), ..LIMITS };
    let busy = ProcessLimits { cpu: Duration::from_secs(1), ..LIMITS };
    for (script, limits, expected) in [
        ("exec sleep 60", &soon, "was killed because its time was up"),
        // Closed pipes do not count as an end.
        ("exec sleep 60 >&- 2>&-", &soon, "was killed because its time was up"),
        ("while :; do :; done", &busy, "was killed by signal 24 (SIGXCPU)"),
        ("exec cat /dev/zero", &LIMITS, "was killed because it answered more than it may"),
        ("kill -ABRT $$", &LIMITS, "was killed by signal 6 (SIGABRT)"),
    ] {
        assert_eq!(run(script, b"", limits).await.ending.to_string(), expected, "{script}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let fault = run_limited(Path::new("/no/such"), &[], Vec::new(), &LIMITS).await.unwrap_err();
    assert_eq!(fault.to_string(), "TG0701: cannot start /no/such: No such file or directory");
}
