//! The same promises on an S3 server.

use crate::harness::{CREDENTIALS, Project, Server, flights, python_command, rows_and_keys};

/// 20,000 flights to load, and the right to use a server.
fn project() -> Project {
    let mut project = Project::with_streams("flights: { mode: incremental }");
    flights(&project, 20_000, 2);
    for (name, value) in CREDENTIALS {
        project.variable(name, value);
    }
    project.variable("AWS_REGION", "us-east-1");
    project
}

#[test]
fn rows_land_in_a_bucket_once() {
    let s3 = Server::start("s3_server.py", &[]);
    let project = project();
    let sink = format!(
        "s3://lake/tables\n  options: {{ aws_endpoint: \"{}\", aws_allow_http: \"true\" }}",
        s3.address
    );
    project.edit("./lake", &sink);
    project.load();
    let read = || {
        let mut command = python_command("read_table.py");
        command.args(["s3://lake/tables/flights", "--key", "id", "--s3", &s3.address]).envs(CREDENTIALS);
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
    let mut project = project();
    let s3 = Server::start("s3_server.py", &[&project.path("data")]);
    project.variable("AWS_ENDPOINT_URL", &s3.address);
    project.variable("AWS_ALLOW_HTTP", "true");
    project.edit("./data", "\"s3://lake\"");
    project.load();
    assert_eq!(rows_and_keys(&project.read("flights", "id")), (20_000, 20_000));
    assert_eq!(
        project.load()["streams"]["flights"]["rows"],
        0,
        "an object's version tells that nothing changed"
    );
}
