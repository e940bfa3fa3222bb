use std::fs;
use std::os::unix::fs::PermissionsExt;

use tidegate_infrastructure::Store;
use tidegate_model::Code;
use tidegate_permission::{Principal, Revision, Secret};

use crate::disk::{Home, SECRETS};

#[test]
fn a_secret_is_kept_read_listed_replaced_and_forgotten() {
    let home = Home::new();
    for (name, value) in [("prod/token", "one"), ("key", "two"), ("prod/token", "three")] {
        home.set(name, value);
    }
    assert_eq!((home.told("prod/token"), home.told("key")), ("three".into(), "two".into()));
    let listed: Vec<_> = home.secrets.names().unwrap();
    let shown: Vec<_> = listed.iter().map(|listed| (listed.name.as_str(), listed.revision.version)).collect();
    assert_eq!(shown, [("key", 1), ("prod/token", 2)]);
    assert!(listed.iter().all(|listed| listed.by == Principal::operator().to_string()));
    home.secrets.forget("key").unwrap();
    let gone =
        "TG0305: there is no secret `key` in the store; `tidegate secret set key --data-dir HERE` keeps one";
    assert_eq!(home.told("key"), gone);
    assert_eq!(home.secrets.forget("key").unwrap_err().to_string(), gone);
    assert_eq!(
        home.told("prod/tokn"),
        "TG0305: there is no secret `prod/tokn` in the store; did you mean `prod/token`? `tidegate secret set prod/tokn --data-dir HERE` keeps one"
    );
}

#[test]
fn what_cannot_be_a_secret_is_not_kept() {
    let home = Home::new();
    for (value, why) in
        [(Vec::new(), "it is empty"), (vec![b'x'; Secret::LONGEST + 1], "it is longer than 65536 bytes")]
    {
        let told = home.secrets.set("x", &Secret::new(value), &Principal::operator()).unwrap_err();
        assert_eq!(told.message, format!("this cannot be a secret: {why}"));
    }
    home.set("x", &"y".repeat(Secret::LONGEST));
    assert_eq!(home.told("x").len(), Secret::LONGEST);
}

#[test]
fn many_secrets_are_listed_over_pages() {
    let home = Home::new();
    home.set("s0", "value");
    let record = home.disk.get(SECRETS, b"s0").unwrap().unwrap();
    for number in 1..600 {
        home.disk.put(SECRETS, format!("s{number}").as_bytes(), &record).unwrap();
    }
    assert_eq!(home.secrets.names().unwrap().len(), 600);
}

#[test]
fn nothing_of_a_value_is_on_the_disk() {
    let home = Home::new();
    home.set("one", "hunter2-hunter2-hunter2");
    home.set("two", "hunter2-hunter2-hunter2");
    let sealed = |name: &str| {
        let record = home.disk.get(SECRETS, name.as_bytes()).unwrap().unwrap();
        serde_json::from_slice::<serde_json::Value>(&record).unwrap()["sealed"].as_str().unwrap().to_owned()
    };
    assert_ne!(sealed("one"), sealed("two"), "equal values look different");
    for file in ["store", "keys/secrets.key"] {
        let bytes = fs::read(home.path(file)).unwrap();
        for form in [&b"hunter2"[..], b"aHVudGVyM"] {
            assert!(!bytes.windows(form.len()).any(|window| window == form), "{file}");
        }
    }
    let mode = |path: &str| fs::metadata(home.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys/secrets.key"), mode("keys")), (0o600, 0o700));
}

#[test]
fn a_record_that_was_moved_or_changed_does_not_open() {
    let home = Home::new();
    home.set("low", "guest");
    home.set("high", "root");
    let record = |name: &str| home.disk.get(SECRETS, name.as_bytes()).unwrap().unwrap();
    let text = String::from_utf8(record("high")).unwrap();
    let fields: serde_json::Value = serde_json::from_str(&text).unwrap();
    let with = |field: &str, value: serde_json::Value| {
        let mut changed = fields.clone();
        changed[field] = value;
        changed.to_string().into_bytes()
    };
    let flipped: String = {
        let sealed = fields["sealed"].as_str().unwrap();
        let first = if sealed.starts_with('A') { 'B' } else { 'A' };
        format!("{first}{}", &sealed[1..])
    };
    const FORGED: &str = "it does not open with its key: it was changed, or moved here";
    const DAMAGED: &str = "its record is damaged";
    for (what, bytes, why) in [
        ("moved from another name", record("low"), FORGED),
        ("an earlier version", with("version", 7.into()), FORGED),
        ("by somebody else", with("by", "user:mallory".into()), FORGED),
        ("written at another time", with("written", "2020-01-01T00:00:00Z".into()), FORGED),
        ("another ciphertext", with("sealed", flipped.into()), FORGED),
        ("no ciphertext", with("sealed", "".into()), FORGED),
        ("a short nonce", with("nonce", "AAAA".into()), DAMAGED),
        ("no base64", with("nonce", "!".into()), DAMAGED),
        ("another field", with("more", 1.into()), DAMAGED),
        ("half of it", text.as_bytes()[..text.len() / 2].to_owned(), DAMAGED),
        ("nothing", Vec::new(), DAMAGED),
    ] {
        home.disk.put(SECRETS, b"high", &bytes).unwrap();
        let told = home.told("high");
        assert!(
            told.starts_with(&format!("TG0305: the secret `high` cannot be read: {why};")),
            "{what}: {told}"
        );
    }
    home.disk.put(SECRETS, b"high", &with("format", 2.into())).unwrap();
    assert!(home.told("high").contains("is kept in format 2, and this version knows 1"));
    // It is not mended by writing over it, unseen; it can be removed.
    assert!(home.secrets.set("high", &Secret::new(b"x".to_vec()), &Principal::operator()).is_err());
    home.secrets.forget("high").unwrap();
    home.set("high", "root");
    assert_eq!(home.told("high"), "root");
}

#[test]
fn without_its_key_nothing_opens_and_nothing_is_lost() {
    let home = Home::new();
    home.set("token", "hush");
    let key = home.path("keys/secrets.key");
    let kept = fs::read(&key).unwrap();
    // Another store's key, in the place of this one's.
    let other = home.beside("other", "elsewhere/secrets.key");
    other.set("theirs", "x");
    for content in [None, Some(fs::read(home.path("elsewhere/secrets.key")).unwrap())] {
        match &content {
            None => fs::remove_file(&key).unwrap(),
            Some(bytes) => fs::write(&key, bytes).unwrap(),
        }
        if key.exists() {
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let by = Principal::operator();
        let told = [
            home.told("token"),
            home.secrets.set("more", &Secret::new(b"x".to_vec()), &by).unwrap_err().to_string(),
            home.secrets.rekey().unwrap_err().to_string(),
        ];
        for told in told {
            let fitting = told.starts_with("TG0305: the key ")
                && told.contains("nothing was changed; put the key file back");
            assert!(fitting, "{told}");
        }
        assert_eq!(fs::read(&key).ok(), content, "no new key hides that the old one is missing");
    }
    fs::write(&key, kept).unwrap();
    assert_eq!(home.told("token"), "hush");
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let home = Home::new();
    home.set("token", "hush");
    let key = home.path("keys/secrets.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let shown = key.display();
    assert_eq!(
        home.told("token"),
        format!(
            "TG0305: the key of the secrets: others than its owner may read or change {shown}; chmod 600 {shown}"
        )
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "not a key\n").unwrap();
    assert!(home.told("token").contains("is no key file: line 1 makes no sense"), "{}", home.told("token"));
}

#[test]
fn of_two_who_replace_a_secret_one_does() {
    let home = Home::new();
    home.set("token", "first");
    let by = Principal::operator();
    let swap = |value: &str, read: &Revision| {
        home.secrets.swap("token", &Secret::new(value.into()), &by, read).map_err(|fault| fault.code)
    };
    let read = home.secrets.get("token").unwrap().revision.unwrap();
    let next = swap("second", &read).unwrap();
    assert_eq!(next.version, 2);
    assert_eq!(swap("lost", &read), Err(Code::SecretChanged));
    assert_eq!(home.told("token"), "second", "the one who was first is not overwritten");
    // Sealed anew, it is still the same.
    home.secrets.rekey().unwrap();
    let third = swap("third", &next).unwrap();
    // Version 1 again is not the version 1 that was read.
    home.secrets.forget("token").unwrap();
    assert_eq!(swap("lost", &third), Err(Code::SecretChanged));
    home.set("token", "new");
    assert_eq!(swap("lost", &read), Err(Code::SecretChanged));
    assert_eq!(home.told("token"), "new");
}
