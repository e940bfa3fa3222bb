//! Rows land, once, as they were, and other engines agree.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Project, python, rows_and_keys};

const AIRPORTS: &str = "\
faa,name,lat,lon,alt,dst
04G,\"Lansdowne, Airport\",41.1304722,-80.6195833,1044,A
06A,Moton Field,32.4605722,-85.6800278,264,A
EWR,\"Newark \"\"Liberty\"\"\",40.6925,-74.168667,18,
";

fn weather(days: std::ops::RangeInclusive<u32>) -> String {
    let mut text = String::from("origin,temp,visib,time_hour\n");
    for day in days {
        for hour in 0..24 {
            let temp = if hour == 7 { "NA".to_owned() } else { format!("{}.5", day + hour) };
            text.push_str(&format!("EWR,{temp},10,2013-01-{day:02}T{hour:02}:00:00Z\n"));
        }
    }
    text
}

fn project() -> Project {
    let project =
        Project::with_streams("airports: { mode: full }\nweather: { mode: incremental, cursor: time_hour }");
    project.edit("format: csv", "format: csv, null_tokens: [NA, \"\"]");
    project.write("data/airports.csv", AIRPORTS);
    project.write("data/weather.csv", weather(1..=9));
    project
}

fn rows(summary: &Value, stream: &str) -> u64 {
    summary["streams"][stream]["rows"].as_u64().unwrap_or_else(|| panic!("no {stream} in {summary}"))
}

#[test]
fn values_and_types_arrive_as_other_engines_read_them() {
    let project = project();
    let summary = project.load();
    assert_eq!((rows(&summary, "airports"), rows(&summary, "weather")), (3, 216));
    assert_eq!(rows_and_keys(&project.read("airports", "faa")), (3, 3));
    let seen = project.read("weather", "time_hour");
    assert_eq!(rows_and_keys(&seen), (216, 216));
    for engine in seen.as_object().unwrap().values() {
        assert_eq!(engine["nulls"], json!({ "origin": 0, "temp": 9, "visib": 0, "time_hour": 0 }));
    }
    assert_eq!(
        seen["duckdb"]["columns"],
        json!({ "origin": "VARCHAR", "temp": "DOUBLE", "visib": "BIGINT", "time_hour": "TIMESTAMP WITH TIME ZONE" })
    );
}

#[test]
fn a_second_run_brings_only_what_is_new() {
    let project = project();
    project.load();
    assert_eq!(rows(&project.load(), "weather"), 0, "nothing changed");
    project.write("data/weather.csv", weather(1..=11));
    assert_eq!(rows(&project.load(), "weather"), 48, "two days more");
    assert_eq!(rows_and_keys(&project.read("weather", "time_hour")), (264, 264));
    assert!(
        project.run(&["run", "p.yaml", "--stream", "weather"]).expect_code(0).text().contains("nothing new")
    );
}

#[test]
fn a_full_refresh_replaces_and_never_doubles() {
    let project = project();
    project.load();
    project.run(&["run", "p.yaml", "--full-refresh"]).expect_code(0);
    assert_eq!(rows_and_keys(&project.read("weather", "time_hour")), (216, 216));
}

#[test]
fn state_can_be_looked_at_and_reset() {
    let project = project();
    project.load();
    let state = project.run(&["state", "show", "p.yaml", "--json"]).expect_code(0).json();
    assert!(state.to_string().contains("2013-01-09T23:00:00"), "{state}");
    project.run(&["state", "reset", "p.yaml", "--stream", "weather", "--yes", "--json"]).expect_code(0);
    assert_eq!(rows(&project.load(), "weather"), 216, "reset: it reads everything again");
}

#[test]
fn discover_and_check_move_nothing() {
    let project = project();
    let streams =
        project.run(&["discover", "p.yaml", "--yes-grant", "--json"]).expect_code(0).json().to_string();
    assert!(streams.contains("\"airports\"") && streams.contains("\"weather\""), "{streams}");
    project.run(&["check", "p.yaml", "--json"]).expect_code(0);
    assert!(!project.path("lake").exists());
}

/// Lands the two cities that `location` has in this format, and looks at them; one has no name.
#[track_caller]
fn lands_cities(location: &Path, config: &str) {
    let project = Project::with_streams("cities: { mode: full }");
    project.edit("./data, format: csv", &format!("\"{}\", {config}", location.display()));
    project.load();
    let seen = project.read("cities", "id");
    assert_eq!(rows_and_keys(&seen), (2, 2), "{config}");
    for engine in ["duckdb", "polars"] {
        assert_eq!(seen[engine]["nulls"], json!({ "id": 0, "name": 1 }), "{config}");
    }
}

#[test]
fn every_format_lands_the_same_rows() {
    let source = Project::new();
    let lines = "{\"id\": 1, \"name\": \"Zürich\"}\n{\"id\": 2, \"name\": null}\n";
    for (format, file, content) in [
        ("csv", "cities.csv", "id,name\n1,Zürich\n2,\n".to_owned()),
        ("ndjson", "cities.ndjson", lines.to_owned()),
        ("json", "cities.json", format!("[{}]", lines.trim().replace('\n', ","))),
    ] {
        source.write(&format!("{format}/{file}"), &content);
        for lane in ["kernel", "guest"] {
            lands_cities(&source.path(format), &format!("format: {format}, lane: {lane}"));
        }
    }
}

#[test]
fn a_state_of_another_source_is_only_taken_over_on_purpose() {
    let project = project();
    project.load();
    project.edit("./data", "./moved");
    std::fs::rename(project.path("data"), project.path("moved")).unwrap();
    let refused = project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(1);
    assert!(
        refused.stderr.contains("TG0505") && refused.stderr.contains("state adopt"),
        "{}",
        refused.stderr
    );
    project.run(&["state", "adopt", "p.yaml", "--yes"]).expect_code(0);
    project.write("moved/weather.csv", weather(1..=10));
    assert_eq!(rows(&project.load(), "weather"), 24, "one day more, and nothing twice");
}

#[test]
fn parquet_and_compressed_files_land_the_same_rows() {
    let source = Project::new();
    python("write_files.py", &[&source.path("").display().to_string()]);
    for (folder, format) in [("parquet", "parquet"), ("gz", "csv"), ("zst", "csv")] {
        lands_cities(&source.path(folder), &format!("format: {format}"));
    }
}

#[test]
fn the_quickstart_lands_four_tables_value_by_value() {
    let project = Project::new();
    let quickstart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart");
    let copy = |file: &str| project.write(file, std::fs::read(quickstart.join(file)).unwrap());
    copy("flights.yaml");
    for table in ["airlines", "airports", "planes", "weather"] {
        copy(&format!("data/{table}.csv"));
    }
    project.run(&["run", "flights.yaml", "--yes-grant"]).expect_code(0);
    for table in ["airlines", "airports", "planes", "weather"] {
        let (landed, source) =
            (project.path(format!("lake/{table}")), project.path(format!("data/{table}.csv")));
        let seen = python(
            "digest_table.py",
            &[&landed.display().to_string(), &source.display().to_string(), "--null", "NA"],
        );
        for (engine, digest) in seen.as_object().unwrap() {
            assert_eq!(*digest, seen["source"], "{engine} reads other values of {table}");
        }
    }
}

#[test]
fn rows_that_come_late_land_and_rows_that_come_again_do_not() {
    let project = Project::with_streams("log: { mode: incremental, cursor: at, lookback: 2d }");
    let day = |rows: &str| format!("at,what\n{rows}");
    project.write(
        "data/log.csv",
        day("2026-01-10T00:00:00Z,a\n2026-01-10T00:00:00Z,b\n2026-01-01T00:00:00Z,old\n"),
    );
    assert_eq!(rows(&project.load(), "log"), 3);
    project.write(
        "data/log.csv",
        day("2026-01-10T00:00:00Z,a\n2026-01-10T00:00:00Z,b\n2026-01-10T00:00:00Z,c\n\
             2026-01-08T12:00:00Z,late\n2026-01-05T00:00:00Z,too late\n2026-01-01T00:00:00Z,old\n"),
    );
    let loaded = project.load();
    assert_eq!(rows(&loaded, "log"), 2);
    assert_eq!(loaded["streams"]["log"]["recognised"], 2);
    assert_eq!(loaded["streams"]["log"]["skipped"], 2);
    let seen = project.read("log", "what");
    assert_eq!(rows_and_keys(&seen), (5, 5));

    project.edit("lookback: 2d", "lookback: 2");
    let refused = project.run(&["run", "p.yaml"]).expect_code(2);
    assert!(refused.stderr.contains("`lookback: 2` cannot be measured"), "{}", refused.stderr);
}
