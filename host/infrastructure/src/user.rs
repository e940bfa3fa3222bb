//! Who runs this process.

use crate::files;

/// The operating system's name for whoever runs this process, or `uid-1000` where it has none. The
/// environment is not asked: it says what its owner likes.
pub fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    files::read_to_string("/etc/passwd")
        .ok()
        .and_then(|accounts| name_of(&accounts, uid).map(str::to_owned))
        .unwrap_or_else(|| format!("uid-{uid}"))
}

/// Looks an account up in the text of `passwd(5)`: `name:password:uid:...`.
fn name_of(accounts: &str, uid: u32) -> Option<&str> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_number() {
        let accounts =
            "root:x:0:0::/root:/bin/sh\n# comment\nbroken\nalice:x:1000:100::/home/alice:/bin/sh\n";
        assert_eq!(name_of(accounts, 1000), Some("alice"));
        assert_eq!(name_of(accounts, 100), None);
        assert!(!user_name().is_empty());
    }
}
