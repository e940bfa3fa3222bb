//! Rows land, once, as they were, and other engines agree.

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
    let project = Project::new();
    project.pipeline(
        "\
pipeline: p
extract:
  connector: files@0.1
  config: { location: ./data, format: csv, null_tokens: [NA, \"\"] }
  streams:
    airports: { mode: full }
    weather: { mode: incremental, cursor: time_hour }
ingest:
  sink: delta
  location: ./lake
",
    );
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

#[test]
fn every_format_lands_the_same_rows() {
    let project = Project::with_streams("cities: { mode: full }");
    let pipeline = std::fs::read_to_string(project.path("p.yaml")).unwrap();
    let lines = "{\"id\": 1, \"name\": \"Zürich\"}\n{\"id\": 2, \"name\": null}\n";
    for (format, file, content) in [
        ("csv", "cities.csv", "id,name\n1,Zürich\n2,\n".to_owned()),
        ("ndjson", "cities.ndjson", lines.to_owned()),
        ("json", "cities.json", format!("[{}]", lines.trim().replace('\n', ","))),
    ] {
        for lane in ["kernel", "guest"] {
            let config = format!("location: ./{format}-{lane}, format: {format}, lane: {lane}");
            project.pipeline(
                &pipeline
                    .replace("location: ./data, format: csv", &config)
                    .replace("./lake", &format!("./lake/{format}-{lane}")),
            );
            project.write(&format!("{format}-{lane}/{file}"), &content);
            project.load();
            let seen = project.read(&format!("{format}-{lane}/cities"), "id");
            assert_eq!(rows_and_keys(&seen), (2, 2), "{format} {lane}");
            assert_eq!(seen["polars"]["nulls"], json!({ "id": 0, "name": 1 }), "{format} {lane}");
        }
    }
}

#[test]
fn a_state_of_another_source_is_only_taken_over_on_purpose() {
    let project = project();
    project.load();
    let text = std::fs::read_to_string(project.path("p.yaml")).unwrap();
    project.pipeline(&text.replace("./data", "./moved"));
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
    let project = Project::with_streams("cities: { mode: full }");
    let pipeline = std::fs::read_to_string(project.path("p.yaml")).unwrap();
    python("write_files.py", &[&project.path("made").display().to_string()]);
    for (folder, format) in [("parquet", "parquet"), ("gz", "csv"), ("zst", "csv")] {
        let config = format!("location: ./made/{folder}, format: {format}");
        project.pipeline(
            &pipeline
                .replace("location: ./data, format: csv", &config)
                .replace("./lake", &format!("./lake/{folder}")),
        );
        project.load();
        let seen = project.read(&format!("{folder}/cities"), "id");
        assert_eq!(rows_and_keys(&seen), (2, 2), "{folder}");
        assert_eq!(seen["duckdb"]["nulls"], json!({ "id": 0, "name": 1 }), "{folder}");
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
