//! What a pipeline file can name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tidegate_model::SecretRef;
use tidegate_permission::{Principal, Secret, Sources};

use crate::disk::Home;

/// Something in the middle of its own folder.
struct Desk {
    home: Home,
    sources: Sources,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let store = Home::at(&home.path(""), "store", "keys/secrets.key").secrets;
        let sources = Sources::new(&home.path(""), Arc::new(store));
        Self { home, sources }
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) {
        fs::write(self.home.path(name), content).unwrap();
        fs::set_permissions(self.home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A secret's value, or why there is none.
    fn told(&self, reference: &str) -> String {
        let reference: SecretRef = reference.parse().unwrap();
        match now(self.sources.read(&reference)) {
            Ok(held) => String::from_utf8_lossy(held.secret.expose()).into_owned(),
            Err(fault) => fault.to_string(),
        }
    }
}

/// None of these sources ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn a_file_is_read_from_the_pipelines_folder_less_one_line_break() {
    let desk = Desk::new();
    for (content, expected) in [
        (&b"hush"[..], "hush"),
        (b"hush\n", "hush"),
        (b"hush\r\n", "hush"),
        (b"hush\n\n", "hush\n"),
        (b" hush ", " hush "),
        (b"\n", "TG0305: file:./token: this cannot be a secret: it is empty"),
    ] {
        desk.file("token", content, 0o600);
        assert_eq!(desk.told("file:./token"), expected);
    }
    let absolute = desk.home.path("token");
    desk.file("token", b"hush", 0o400);
    assert_eq!(desk.told(&format!("file:{}", absolute.display())), "hush");
    desk.file("long", &vec![b'x'; Secret::LONGEST + 3], 0o600);
    assert!(desk.told("file:long").ends_with("is longer than 65538 bytes"), "{}", desk.told("file:long"));
}

#[test]
fn what_is_missing_or_open_to_others_is_told_with_what_to_type() {
    let desk = Desk::new();
    desk.file("open", b"hush", 0o644);
    let shown = |name: &str| desk.home.path(name).display().to_string();
    for (reference, expected) in [
        (
            "file:open",
            format!(
                "TG0305: file:open: others than its owner may read or change {0}; chmod 600 {0}",
                shown("open")
            ),
        ),
        (
            "file:absent",
            format!(
                "TG0305: there is no secret file:absent: no file {0}; write it there for you alone: (umask 077 && cat > {0})",
                shown("absent")
            ),
        ),
        (
            "env:TIDEGATE_TEST_ABSENT",
            "TG0305: there is no secret env:TIDEGATE_TEST_ABSENT: the variable is not set; set it before the command, such as: read -rs TIDEGATE_TEST_ABSENT && export TIDEGATE_TEST_ABSENT".to_owned(),
        ),
        (
            "store:absent",
            "TG0305: there is no secret `absent` in the store; `tidegate secret set absent --data-dir HERE` keeps one"
                .to_owned(),
        ),
    ] {
        assert_eq!(desk.told(reference), expected);
    }
}

#[test]
fn a_variable_is_read_as_it_is() {
    assert_eq!(Desk::new().told("env:CARGO_PKG_NAME"), "tidegate-permission");
}

#[test]
fn a_new_value_is_kept_in_the_store_and_nowhere_else() {
    let desk = Desk::new();
    desk.file("token", b"hush", 0o600);
    desk.home.set("token", "old");
    let replace = |reference: &str| {
        let reference: SecretRef = reference.parse().unwrap();
        let read = now(desk.sources.read(&reference)).unwrap().revision;
        let (new, by) = (Secret::new(b"new".to_vec()), Principal::operator());
        now(desk.sources.replace(&reference, &new, &by, read.as_ref())).map_err(|fault| fault.to_string())
    };
    for reference in ["file:token", "env:CARGO_PKG_NAME"] {
        let told = replace(reference).unwrap_err();
        assert_eq!(
            told,
            format!(
                "TG0305: the server gave a new value for {reference}, which can only be read; keep it where it can be replaced: `tidegate secret set NAME`, and bind the slot to `store:NAME`"
            )
        );
    }
    assert_eq!(desk.told("file:token"), "hush");
    assert_eq!(replace("store:token").unwrap().version, 2);
    assert_eq!(desk.told("store:token"), "new");
}
