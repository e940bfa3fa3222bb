//! Files behind HTTPS, through the policed sender.

use crate::harness::{Project, Server, rows_and_keys};

#[test]
fn rows_come_from_an_https_server_whose_certificate_is_trusted() {
    let mut project = Project::with_streams("cities: { mode: full }");
    project.write("www/cities.csv", "id,name\n1,Bern\n2,Basel\n");
    let authority = project.path("authority.pem");
    let server = Server::start("https_server.py", &[&project.path("www"), &authority]);
    project.edit("./data", &format!("\"{}/cities.csv\"", server.address));
    let refused = project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(1);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    assert!(!project.path("lake/cities").exists());

    project.variable("SSL_CERT_FILE", &authority.display().to_string());
    project.load();
    assert_eq!(rows_and_keys(&project.read("cities", "id")), (2, 2));
}
