//! Stories of somebody who types `tidegate`, without a terminal: what is answered where, and with which exit
//! status.
#![expect(clippy::disallowed_methods, reason = "tests start the command and look at what it leaves")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const PIPELINE: &str = "\
pipeline: letters
extract:
  connector: files@0.1
  config: { location: ./data, format: csv }
  streams:
    letters: { mode: incremental }
ingest:
  sink: delta
  location: ./lake
";

/// A folder with a pipeline file and a little data.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(desk.path("data")).unwrap();
        fs::write(desk.path("data/letters.csv"), "letter,number\na,1\nb,2\nc,3\n").unwrap();
        fs::write(desk.path("p.yaml"), PIPELINE).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn tidegate(&self, arguments: &[&str]) -> Answer {
        tidegate_in(self.0.path(), arguments)
    }
}

fn tidegate_in(folder: &Path, arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("TIDEGATE_DATA_DIR")
        .env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap();
    Answer(output)
}

struct Answer(Output);

impl Answer {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}\n{}", self.out(), self.err());
        self
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.out()))
    }
}

#[test]
fn what_is_extracted_once_is_not_extracted_again() {
    let desk = Desk::new();
    let first = desk.tidegate(&["run", "p.yaml", "--yes-grant", "--json"]).exits(0).json();
    assert_eq!(first["nothing_new"], false, "{first:#}");
    assert_eq!(first["streams"]["letters"]["rows"], 3, "{first:#}");
    assert_eq!(first["streams"]["letters"]["location"], "lake/letters");
    let second = desk.tidegate(&["run", "p.yaml"]).exits(0);
    assert!(second.out().contains("Nothing new: letters is up to date."), "{}", second.out());

    fs::write(desk.path("data/letters.csv"), "letter,number\nd,4\n").unwrap();
    let third = desk.tidegate(&["run", "p.yaml", "--json"]).exits(0).json();
    assert_eq!(third["streams"]["letters"]["rows"], 1, "{third:#}");
}

#[test]
fn without_a_grant_a_run_exits_3_and_what_it_prints_makes_it_work() {
    let desk = Desk::new();
    let denied = desk.tidegate(&["run", "p.yaml"]).exits(3);
    assert_eq!(denied.out(), "", "nothing was done");
    assert!(denied.err().contains("reads the files you point it at"), "{}", denied.err());
    assert!(denied.err().contains("error[TG0301]"), "{}", denied.err());
    assert!(!desk.path("lake").exists());

    let told = denied.err();
    let printed = &told[told.find("grants:\n").unwrap()..];
    fs::write(desk.path("grants.yaml"), printed).unwrap();
    desk.tidegate(&["run", "p.yaml"]).exits(0);
    assert!(desk.read("tidegate.lock").contains("letters"));
}

#[test]
fn a_grant_can_be_given_seen_and_taken_back() {
    let desk = Desk::new();
    desk.tidegate(&["grant", "add", "p.yaml", "--yes"]).exits(0);
    let list = desk.tidegate(&["grant", "list", "p.yaml", "--json"]).exits(0).json();
    assert_eq!(list["grants"][0]["pipeline"], "letters", "{list:#}");
    desk.tidegate(&["check", "p.yaml"]).exits(0);
    desk.tidegate(&["grant", "revoke", "p.yaml"]).exits(0);
    desk.tidegate(&["check", "p.yaml"]).exits(3);
    let denied = desk.tidegate(&["audit", "tail", "p.yaml", "--denied", "--json"]).exits(0).json();
    assert_eq!(denied["records"][0]["decision"], "deny", "{denied:#}");
}

#[test]
fn a_folder_is_as_good_as_the_file_in_it_and_what_is_neither_is_refused() {
    let desk = Desk::new();
    desk.tidegate(&["grant", "add", "p.yaml", "--yes"]).exits(0);
    for place in [".", "p.yaml"] {
        let granted = desk.tidegate(&["grant", "list", place, "--json"]).exits(0).json();
        assert_eq!(granted["grants"][0]["pipeline"], "letters", "{granted:#}");
        let audit = desk.tidegate(&["audit", "tail", place, "--json"]).exits(0).json();
        assert!(!audit["records"].as_array().unwrap().is_empty(), "{audit:#}");
    }
    let empty = desk.tidegate(&["audit", "tail", "data"]).exits(0);
    assert!(empty.out().starts_with("Nothing of that kind"), "{}", empty.out());
    assert!(!desk.path("data/.tidegate").exists());
    for verb in [["grant", "list"], ["audit", "tail"]] {
        let absent = desk.tidegate(&[verb[0], verb[1], "nope.yaml"]).exits(2);
        assert!(absent.err().contains("error[TG0103]"), "{}", absent.err());
    }
}

#[test]
fn a_check_compares_the_pipeline_file_with_the_source() {
    let desk = Desk::new();
    let check = |from: &str, to: &str, code| {
        fs::write(desk.path("q.yaml"), PIPELINE.replace(from, to)).unwrap();
        desk.tidegate(&["check", "q.yaml", "--yes-grant"]).exits(code)
    };
    let good = check("mode: incremental", "mode: incremental, cursor: number, key: [letter]", 0);
    assert!(good.out().contains("the source answers, and has letters"), "{}", good.out());
    for (from, to, expected) in [
        ("    letters:", "    leters:", "error[TG0405]: the source has no stream `leters`"),
        ("mode: incremental", "mode: incremental, cursor: nubmer", "has no column `nubmer` to be its cursor"),
        ("mode: incremental", "key: [leter]", "has no column `leter` to be in its key"),
        ("./data", "./dta", "mend `location`"),
    ] {
        let told = check(from, to, 2).err();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_test_without_a_configuration_says_how_to_give_one() {
    let desk = Desk::new();
    let told = desk.tidegate(&["test", "files"]).exits(2).err();
    assert!(told.contains("error[TG0105]") && told.contains("--config FILE"), "{told}");
    let told = desk.tidegate(&["test", "files", "--config", "absent.yaml"]).exits(2).err();
    assert!(told.contains("error[TG0104]") && told.contains("help: write the connector"), "{told}");
}

#[test]
fn discover_shows_what_a_source_has() {
    let desk = Desk::new();
    let found = desk.tidegate(&["discover", "p.yaml", "--yes-grant", "--json"]).exits(0).json();
    let columns = &found["streams"][0]["columns"];
    assert_eq!(columns[0], json!({ "name": "letter", "type": "string", "nullable": true }), "{found:#}");
    assert_eq!(columns[1]["type"], "int64", "{found:#}");
    let wrong = desk.tidegate(&["discover", "p.yaml", "--stream", "leters"]).exits(2);
    assert!(wrong.err().contains("did you mean `letters`?"), "{}", wrong.err());
}

#[test]
fn mistakes_are_told_with_a_code_a_place_and_a_remedy() {
    let desk = Desk::new();
    let broken = |from: &str, to: &str| fs::write(desk.path("q.yaml"), PIPELINE.replace(from, to)).unwrap();

    desk.tidegate(&["run", "absent.yaml"]).exits(2).err().find("error[TG0103]").unwrap();

    broken("connector:", "conector:");
    let unknown = desk.tidegate(&["run", "q.yaml"]).exits(2);
    assert!(
        unknown.err().starts_with(
            "error[TG0102]: unknown key `conector`\n  --> q.yaml:3:3\n  help: did you mean `connector`?"
        ),
        "{}",
        unknown.err()
    );
    let document = desk.tidegate(&["run", "q.yaml", "--json"]).exits(2).json();
    assert_eq!(document["error"]["code"], "TG0102");
    assert_eq!(document["exit"], 2);

    broken("files@0.1", "flies@0.1");
    let near = desk.tidegate(&["run", "q.yaml"]).exits(2);
    assert!(near.err().contains("did you mean `files`?"), "{}", near.err());

    broken("files@0.1", "files@7");
    let other = desk.tidegate(&["run", "q.yaml"]).exits(2);
    assert!(other.err().contains("fits `files@7`"), "{}", other.err());
    assert!(other.err().contains("write `files@0.1.0`"), "{}", other.err());

    fs::write(desk.path("no.wasm"), "not a component").unwrap();
    broken("files@0.1", "./no.wasm");
    let text = desk.tidegate(&["run", "q.yaml"]).exits(2);
    assert!(text.err().contains("error[TG0202]") && text.err().contains("help: "), "{}", text.err());

    desk.tidegate(&["run", "p.yaml", "--stream", "leters"])
        .exits(2)
        .err()
        .find("did you mean `letters`?")
        .unwrap();
}

#[test]
fn what_was_mistyped_is_told_to_programs_too() {
    let desk = Desk::new();
    for (arguments, told) in [
        (&["run", "--json"][..], "<PIPELINE.yaml>"),
        (&["run", "p.yaml", "--full-refesh", "--json"], "unexpected argument '--full-refesh'"),
        (&["plugin", "--json"], "requires a subcommand"),
        (&["rum", "p.yaml", "--json"], "unrecognized subcommand 'rum'"),
    ] {
        let document = desk.tidegate(arguments).exits(2).json();
        assert_eq!(document["error"]["code"], "TG0104", "{document:#}");
        assert_eq!(document["exit"], 2);
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(told) && !message.contains("error:"), "{message}");
        let without: Vec<&str> = arguments.iter().copied().filter(|word| *word != "--json").collect();
        assert_eq!(desk.tidegate(&without).exits(2).out(), "", "{without:?}");
    }
    // What stands after `--` is a name, whatever it looks like; and help is no mistake.
    assert_eq!(desk.tidegate(&["run", "--nope", "--", "--json"]).exits(2).out(), "");
    assert!(desk.tidegate(&["run", "--help", "--json"]).exits(0).out().contains("Usage: tidegate run"));
}

#[test]
fn connectors_can_be_looked_at_before_they_may_do_anything() {
    let desk = Desk::new();
    let files = desk.tidegate(&["plugin", "inspect", "files", "--json"]).exits(0).json();
    assert_eq!(files["name"], "files");
    assert_eq!(files["manifest"]["capabilities"][0]["kind"], "files", "{files:#}");
    assert_eq!(files["config"][0]["name"], "location", "{files:#}");
    assert_eq!(files["config_schema"]["additionalProperties"], false, "{files:#}");
    let words = desk.tidegate(&["plugin", "inspect", "files"]).exits(0).out();
    assert!(words.contains("  location: string (required)\n    A folder or a file"), "{words}");
    assert!(words.contains("  format: csv | ndjson | json | parquet (optional)\n"), "{words}");
    let list = desk.tidegate(&["plugin", "list"]).exits(0);
    assert!(list.out().contains("first party"), "{}", list.out());
}

#[test]
fn a_new_project_is_written_once() {
    let desk = Desk::new();
    let new = desk.tidegate(&["new", "extractor", "pages"]).exits(0);
    assert!(new.out().contains("cd pages"), "{}", new.out());
    assert!(desk.read("pages/Cargo.toml").contains("name = \"pages\""));
    desk.tidegate(&["new", "extractor", "pages"]).exits(2).err().find("is there already").unwrap();
    for (name, told) in [
        ("my_pages", "help: write `my-pages`"),
        ("No Name", "help: write `no-name`"),
        ("2nd", "help: a connector's name is"),
    ] {
        let refused = desk.tidegate(&["new", "extractor", name]).exits(2).err();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn the_machine_is_looked_at_and_shells_are_served() {
    let desk = Desk::new();
    let doctor = desk.tidegate(&["doctor", "--json"]).json();
    assert!(doctor["findings"].as_array().is_some_and(|findings| findings.len() > 5), "{doctor:#}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.tidegate(&["completions", shell]).exits(0).out();
        assert!(script.contains("discover"), "{script}");
        let offered: Vec<&str> = script.split(|letter: char| !letter.is_alphanumeric()).collect();
        for hidden in ["worker", "compile"] {
            assert!(!offered.contains(&hidden), "{shell} offers {hidden}");
        }
    }
}
