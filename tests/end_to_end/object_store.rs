//! The same promises on an S3 server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::harness::{Project, flights, python_command, rows_and_keys};

/// moto, on a free port of this machine, until dropped.
struct S3 {
    server: Child,
    endpoint: String,
}

impl S3 {
    fn start(folder: Option<&Path>) -> Self {
        let mut server = python_command("s3_server.py")
            .args(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut endpoint = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        Self { server, endpoint: endpoint.trim().to_owned() }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn rows_land_in_a_bucket_once() {
    let s3 = S3::start(None);
    let mut project = Project::new();
    for (name, value) in
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")]
    {
        project.variable(name, value);
    }
    project.pipeline(&format!(
        "\
pipeline: p
extract:
  connector: files@0.1
  config: {{ location: ./data, format: csv }}
  streams:
    flights: {{ mode: incremental }}
ingest:
  sink: delta
  location: s3://lake/tables
  options: {{ aws_endpoint: \"{}\", aws_allow_http: \"true\" }}
",
        s3.endpoint
    ));
    flights(&project, 20_000, 2);
    project.load();
    let read = || {
        let mut command = python_command("read_table.py");
        command.args(["s3://lake/tables/flights", "--key", "id", "--s3", &s3.endpoint]);
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(rows_and_keys(&read()), (20_000, 20_000));
    assert_eq!(project.load()["streams"]["flights"]["rows"], 0);
    assert_eq!(rows_and_keys(&read()), (20_000, 20_000));
}

#[test]
fn rows_come_out_of_a_bucket() {
    let mut project = Project::new();
    flights(&project, 20_000, 2);
    let s3 = S3::start(Some(&project.path("data")));
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &s3.endpoint),
        ("AWS_ALLOW_HTTP", "true"),
    ] {
        project.variable(name, value);
    }
    project.pipeline(
        "\
pipeline: p
extract:
  connector: files@0.1
  config: { location: \"s3://lake\", format: csv }
  streams:
    flights: { mode: incremental }
ingest:
  sink: delta
  location: ./lake
",
    );
    project.load();
    assert_eq!(rows_and_keys(&project.read("flights", "id")), (20_000, 20_000));
    assert_eq!(
        project.load()["streams"]["flights"]["rows"],
        0,
        "an object's version tells that nothing changed"
    );
}
