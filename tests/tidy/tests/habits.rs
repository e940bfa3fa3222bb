//! Habits that keep the house easy to find one's way in.

use tidegate_tidy::{read, sources};

/// Lines before a file's own tests.
fn length(text: &str) -> usize {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

#[test]
fn files_fit_a_head() {
    for place in ["host", "sdk", "connectors"] {
        for (name, text) in sources(place) {
            let lines = length(&text);
            assert!(lines <= 600, "{name} has {lines} lines before its tests: find the second noun in it");
        }
    }
}

#[test]
fn documents_have_no_gaps_left_to_fill() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = read(name);
        assert!(!text.is_empty(), "{name} is gone");
        let gap =
            text.split('@').find(|word| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase()));
        assert!(gap.is_none(), "{name}: @{}@ waits for its figure", gap.unwrap_or_default());
    }
}

#[test]
fn exceptions_to_a_lint_say_why() {
    for (name, text) in ["host", "sdk", "connectors", "tests"].iter().flat_map(|place| sources(place)) {
        for (number, line) in text.lines().enumerate() {
            let exception = ["#[allow(", "#![allow(", "#[expect(", "#![expect("]
                .iter()
                .any(|start| line.trim_start().starts_with(start));
            let multiline = line.trim_end().ends_with('(');
            assert!(
                !exception || multiline || line.contains("reason"),
                "{name}:{}: an exception without its reason",
                number + 1
            );
        }
    }
}

#[test]
fn the_capability_funnel_is_in_force() {
    let lint = read("clippy.toml");
    for banned in [
        "std::fs::read",
        "std::process::Command::new",
        "std::net::TcpStream::connect",
        "reqwest::Client::builder",
        "std::time::SystemTime::now",
    ] {
        assert!(lint.contains(&format!("\"{banned}\"")), "clippy.toml no longer bans {banned}");
    }
    // Who may reach the world outside: a new name here is a decision, not a convenience.
    let owners = ["host/infrastructure/", "host/sandbox/"];
    for (name, text) in sources("host") {
        let excepted = text
            .lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains("clippy::disallowed_methods"));
        let test_only = name.contains("/tests/") || name.ends_with("build.rs");
        assert!(
            !excepted || test_only || owners.iter().any(|owner| name.starts_with(owner)),
            "{name} reaches outside by itself; {owners:?} do that for everybody"
        );
    }
}
