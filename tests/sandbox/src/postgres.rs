//! PostgreSQL, the real one of Debian, for as long as a test needs it.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Of every role that has one.
pub const PASSWORD: &str = "tide-9f3b1c-gate";

/// An authority, certificates for the server and for a client, and one more for a server that is another; and
/// an authority that nobody should trust. The server's are for `localhost`, not for its address.
const CERTIFICATES: &str = r#"
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
for authority in authority stranger; do
    openssl req -x509 $key -days 30 -subj "/CN=$authority" -keyout $authority.key -out $authority.pem
done
echo "subjectAltName=DNS:localhost
basicConstraints=CA:FALSE" > leaf.ext
for leaf in server:localhost impostor:localhost client:certified; do
    name=${leaf%:*}
    openssl req $key -subj "/CN=${leaf#*:}" -keyout $name.key -out $name.csr
    openssl x509 -req -in $name.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 30 \
        -extfile leaf.ext -out $name.pem
done
chmod 600 *.key
"#;

/// Who may come in, and how. The roles are named for it.
const ACCESS: &str = "
local   all postgres            trust
host    all scram     all       scram-sha-256
hostssl all encrypted all       scram-sha-256
host    all hashed    all       md5
host    all clear     all       password
hostssl all certified all       cert
host    all welcome   all       trust
";

/// A cluster of its own, on a port of this machine. Ends with this.
#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    folder: TempDir,
    server: Child,
}

impl Postgres {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::of_clusters();
        owner.take(folder.path());
        let run = |program: &Path, arguments: &[&str]| owner.run(folder.path(), program, arguments);
        run(Path::new("sh"), &["-ec", CERTIFICATES]);
        let data = folder.path().join("data").display().to_string();
        let initdb = ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        run(&program("initdb"), &initdb);
        std::fs::write(folder.path().join("data/pg_hba.conf"), ACCESS).unwrap();

        // Free now; whoever takes it in between fails this test, loudly.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let sockets = folder.path().display();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={sockets}"),
            "fsync=off".to_owned(),
            "max_connections=40".to_owned(),
            "log_connections=on".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={sockets}/server.pem"),
            format!("ssl_key_file={sockets}/server.key"),
            format!("ssl_ca_file={sockets}/authority.pem"),
        ];
        let mut server = owner.command(folder.path(), &program("postgres"));
        server.args(["-D", &data]).args(settings.iter().flat_map(|setting| ["-c", setting]));
        let log = File::create(folder.path().join("log")).unwrap();
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let cluster = Self { port, folder, server };
        cluster.wait();
        for role in ["scram", "encrypted", "clear"] {
            cluster.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
        }
        cluster
            .sql(&format!("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD '{PASSWORD}'"));
        cluster.sql("CREATE ROLE certified LOGIN; CREATE ROLE welcome LOGIN");
        cluster
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.tried("SELECT 1") {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// As the superuser, through the cluster's own socket.
    pub fn sql(&self, statement: &str) {
        assert!(self.tried(statement), "{statement}:\n{}", self.log());
    }

    fn tried(&self, statement: &str) -> bool {
        let port = self.port.to_string();
        let mut psql = Command::new(program("psql"));
        psql.arg("-h").arg(self.folder.path()).args(["-p", &port, "-U", "postgres", "-X", "-q"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-c", statement]).stdin(Stdio::null());
        psql.output().unwrap().status.success()
    }

    /// What the server wrote about its work.
    pub fn log(&self) -> String {
        self.file("log")
    }

    /// In PEM: `authority.pem`, `server.key` and so on.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Ends its children too, which killing it would not.
        let pid = self.server.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.server.wait();
    }
}

/// The newest version there is.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.is_file()).max();
    newest.unwrap_or_else(|| panic!("there is no PostgreSQL here: install Debian's package `postgresql`"))
}

/// Whoever the cluster belongs to. PostgreSQL refuses to run as root.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn of_clusters() -> Self {
        let id = |arguments: &[&str]| -> u32 {
            let output = Command::new("id").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        Self((id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"]))))
    }

    fn take(&self, folder: &Path) {
        if let Some((user, group)) = self.0 {
            chown(folder, Some(user), Some(group)).unwrap();
        }
    }

    fn command(&self, folder: &Path, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder);
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    fn run(&self, folder: &Path, program: &Path, arguments: &[&str]) {
        let output = self.command(folder, program).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
