//! What is refused before it runs, and what happens between a component and code that can run.
//!
//! Broken components are made from a good one by exchanging text of the same length in it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::path::PathBuf;

use tidegate_model::{CapabilityKind, Code, ComponentRef};
use tidegate_sandbox::{Compiler, Inspection, Mismatch, Sandbox, Settings, digest, examine, inspect};
use tidegate_sandbox_tests::{Bench, FILES, ROUNDTRIP};

fn exchanged(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "offsets must stay");
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    let mut found = 0;
    while let Some(next) = bytes[at..].windows(from.len()).position(|window| window == from.as_bytes()) {
        bytes[at + next..at + next + to.len()].copy_from_slice(to.as_bytes());
        at += next + to.len();
        found += 1;
    }
    assert!(found > 0, "`{from}` is not in the component");
    bytes
}

#[test]
fn a_good_component_is_understood() {
    let files = inspect(&std::fs::read(FILES).unwrap()).unwrap();
    assert_eq!(files.manifest.name, "files");
    assert_eq!(files.contract, "0.3.0");
    let kinds: Vec<_> = files.manifest.capabilities.iter().map(|capability| capability.kind).collect();
    assert_eq!(kinds, [CapabilityKind::Files, CapabilityKind::Decode]);
    assert!(files.imports.iter().any(|import| import == "tidegate:connector/files@0.3.0"));
    assert!(files.exports.iter().any(|export| export == "tidegate:connector/extraction@0.3.0"));
    assert!(!files.imports.iter().any(|import| import.contains("http") || import.contains("sockets")));
}

#[test]
fn what_is_no_component_is_refused() {
    let good = std::fs::read(ROUNDTRIP).unwrap();
    for (bytes, expected) in [
        (b"".to_vec(), "its first bytes"),
        (b"PAR1 something else".to_vec(), "its first bytes"),
        (b"\0asm\x01\0\0\0".to_vec(), "a core WebAssembly module"),
        (good[..good.len() / 2].to_vec(), "not valid"),
        (vec![0; (64 << 20) + 1], "more than 64 MiB"),
    ] {
        let fault = inspect(&bytes).unwrap_err();
        assert_eq!(fault.code, Code::NotAComponent);
        assert!(fault.message.contains(expected), "{fault}");
    }
    let empty = inspect(b"\0asm\x0d\0\x01\0").unwrap_err();
    assert!(empty.code == Code::BadRequest && empty.message.contains("is missing"), "{empty}");
}

#[test]
fn what_reaches_for_more_than_it_says_is_refused() {
    let good = std::fs::read(ROUNDTRIP).unwrap();
    for (from, to, code, expected) in [
        ("wasi:cli/stdin@0.2.12", "wasi:http/type@0.2.12", Code::ForbiddenImport, "wasi:http/type@0.2.12"),
        ("wasi:cli/stdin@0.2.12", "wasi:cli/stdin@0.3.12", Code::ForbiddenImport, "wasi:cli/stdin@0.3.12"),
        ("tidegate:connector/log@0.3.0", "tidegate:connector/tcp@0.3.0", Code::ForbiddenImport, "tcp"),
        (
            "tidegate:connector/files@0.3.0",
            "tidegate:connector/files@0.9.0",
            Code::WrongContract,
            "version 0.9.0 of the contract; this host speaks 0.3",
        ),
        (r#""contract":"0.3""#, r#""contract":"9.9""#, Code::WrongContract, "version 9.9"),
        (r#""kind":"files","#, r#""kind":"sockt","#, Code::BadRequest, "unknown variant `sockt`"),
        (r#""publisher":"#, r#""publishar":"#, Code::BadRequest, "unknown field `publishar`"),
        (r#""id":"reach""#, r#""ie":"reach""#, Code::BadRequest, "unknown field `ie`"),
        (
            r#""kind":"files","target":"{config.location}","#,
            r#""kind":"decode"                            ,"#,
            Code::ForbiddenImport,
            "imports `files` but does not request it",
        ),
        (r#""world":"extractor""#, r#""world":"extr_ctor""#, Code::BadRequest, "unknown variant"),
    ] {
        let fault = inspect(&exchanged(&good, from, to)).unwrap_err();
        assert_eq!(fault.code, code, "{from} -> {to}: {fault}");
        assert!(fault.message.contains(expected), "{from} -> {to}: {fault}");
    }
}

#[test]
fn all_that_does_not_agree_is_shown_to_whoever_looks() {
    let good = std::fs::read(ROUNDTRIP).unwrap();
    assert_eq!(examine(&good).unwrap().1, []);
    let forbidden = "wasi:http/type@0.2.12";
    let greedy = exchanged(&good, "wasi:cli/stdin@0.2.12", forbidden);
    let wrong = exchanged(
        &greedy,
        r#""kind":"files","target":"{config.location}","#,
        r#""kind":"decode"                            ,"#,
    );
    let (inspection, mismatches) = examine(&wrong).unwrap();
    assert_eq!(inspection.manifest.name, "roundtrip");
    let expected = [
        Mismatch::Forbidden(forbidden.to_owned()),
        Mismatch::NotRequested(CapabilityKind::Files),
        Mismatch::NotImported(CapabilityKind::Decode),
    ];
    assert_eq!(mismatches, expected);
    assert_eq!(inspect(&wrong).unwrap_err().message, format!("the component {}", expected[0]));
}

/// A component whose request can be read, and whose code is broken somewhere.
fn broken_inside() -> Vec<u8> {
    let good = std::fs::read(ROUNDTRIP).unwrap();
    let middles = (good.len() / 3..good.len()).step_by(1009);
    let mut broken = middles.map(|at| {
        let mut bytes = good.clone();
        bytes[at..at + 4].fill(0xff);
        bytes
    });
    broken.find(|bytes| Inspection::read(bytes, digest(bytes)).is_ok() && inspect(bytes).is_err()).unwrap()
}

#[tokio::test]
async fn broken_code_never_gets_to_the_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.wasm");
    let bytes = broken_inside();
    std::fs::write(&path, &bytes).unwrap();
    let reference = ComponentRef { digest: digest(&bytes), path, ..Bench::reference(ROUNDTRIP) };
    let compiler = Compiler::Child { program: folder.path().join("no such program"), arguments: Vec::new() };
    let fault = sandbox(folder.path().into(), compiler).load(&reference).await.err().unwrap();
    assert_eq!(fault.code, Code::NotAComponent, "{fault}");
    assert!(fault.message.contains("it is not valid"), "{fault}");
}

fn sandbox(cache: PathBuf, compiler: Compiler) -> Sandbox {
    let mut settings = Settings::new(cache).unwrap();
    settings.compiler = compiler;
    Sandbox::new(settings).unwrap()
}

#[tokio::test]
async fn a_component_is_compiled_once_and_again_when_the_artifact_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let reference = Bench::reference(ROUNDTRIP);
    let load =
        async || sandbox(cache.clone(), Compiler::InProcess).load(&reference).await.unwrap().from_cache();
    assert!(!load().await);
    assert!(load().await);
    let artifact = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    for damage in [|bytes: &mut Vec<u8>| bytes[5000] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(100)] {
        let mut bytes = std::fs::read(&artifact).unwrap();
        damage(&mut bytes);
        std::fs::write(&artifact, bytes).unwrap();
        assert!(!load().await, "compiled again");
        assert!(load().await);
    }
}

#[tokio::test]
async fn other_bytes_than_those_approved_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut reference = Bench::reference(ROUNDTRIP);
    reference.path = FILES.into();
    let loaded = sandbox(folder.path().into(), Compiler::InProcess).load(&reference).await;
    assert_eq!(loaded.err().unwrap().code, Code::DigestMismatch);
    // Not even when the code of what was approved is there: nothing runs in the name of a file that is
    // something else.
    let compiled =
        sandbox(folder.path().into(), Compiler::InProcess).load(&Bench::reference(ROUNDTRIP)).await;
    assert!(compiled.is_ok());
    let loaded = sandbox(folder.path().into(), Compiler::InProcess).load(&reference).await;
    assert_eq!(loaded.err().unwrap().code, Code::DigestMismatch);
    reference.path = folder.path().join("nowhere.wasm");
    let loaded = sandbox(folder.path().into(), Compiler::InProcess).load(&reference).await;
    assert_eq!(loaded.err().unwrap().code, Code::NoConnector);
}

#[tokio::test]
async fn a_compiler_that_fails_is_told_of_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo out of memory >&2; exit 3".to_owned();
    let compiler = Compiler::Child { program: "/bin/sh".into(), arguments: vec!["-c".into(), script] };
    let fault =
        sandbox(folder.path().into(), compiler).load(&Bench::reference(ROUNDTRIP)).await.err().unwrap();
    assert_eq!(fault.code, Code::CompileFailed);
    assert!(
        fault.message.contains("exited with status 3") && fault.message.contains("out of memory"),
        "{fault}"
    );
}
