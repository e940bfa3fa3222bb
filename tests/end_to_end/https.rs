//! Files behind HTTPS, through the policed sender.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::{Project, python_command, rows_and_keys};

#[test]
fn rows_come_from_an_https_server_whose_certificate_is_trusted() {
    let mut project = Project::new();
    project.write("www/cities.csv", "id,name\n1,Bern\n2,Basel\n");
    let mut server = python_command("https_server.py")
        .args([project.path("www"), project.path("authority.pem")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    project.pipeline(&format!(
        "\
pipeline: p
extract:
  connector: files@0.1
  config: {{ location: \"{}/cities.csv\", format: csv }}
  streams:
    cities: {{ mode: full }}
ingest:
  sink: delta
  location: ./lake
",
        address.trim()
    ));
    let refused = project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(1);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    assert!(!project.path("lake/cities").exists());

    let authority = project.path("authority.pem").display().to_string();
    project.variable("SSL_CERT_FILE", &authority);
    project.load();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(rows_and_keys(&project.read("cities", "id")), (2, 2));
}
