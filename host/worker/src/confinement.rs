//! What a worker keeps for itself of the machine: what its order needs, and what every program needs.

use std::env;
use std::path::PathBuf;

use tidegate_infrastructure::{Confinement, Network, files};
use tidegate_ingestion::Location;
use tidegate_model::{Result, Task, WorkOrder};
use tidegate_permission::{Action, Authorizer, Module, Principal, Reach, Resource};
use url::Url;

/// What names are resolved with, and what certificates are verified with.
const CLIENT: [&str; 17] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/lib/ssl",
    "/usr/local/ssl",
    "/dev/urandom",
];

/// Variables that name a file of certificates, or of a token for an object store.
const NAMED: [&str; 4] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

const DNS: u16 = 53;
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Made for one order, after its component was loaded. Where the order's sink is a folder that is not there yet, this
/// makes it: what is confined could make it only if it might also change what lies beside it.
pub fn of(order: &WorkOrder, authorizer: &Authorizer) -> Result<Confinement> {
    let Reach { files: places, mut ports, mut object_store } = Reach::of(order);
    let mut confinement = Confinement::to_nothing();
    confinement.read.extend(places);
    let mut options = Vec::new();
    if let Task::Run(task) = &order.task {
        let sink = Resource::Sink(task.sink.location.clone());
        authorizer.decide(&Principal::service(Module::Ingestion), Action::SinkWrite, &sink)?;
        match Location::folder_of(&task.sink.location, &order.base) {
            Some(folder) => {
                // Where it cannot be made, the sink tells why when it is opened.
                let _ = files::create_dir_all(&folder);
                confinement.change.push(folder);
            }
            None => object_store = true,
        }
        options.extend(task.sink.options.values().cloned());
    }
    if object_store {
        ports.extend(object_store_ports(&options));
    }
    if !ports.is_empty() {
        ports.insert(DNS);
        confinement.read.extend(CLIENT.map(PathBuf::from));
        confinement.read.extend(NAMED.iter().filter_map(env::var_os).map(PathBuf::from));
        confinement.network = Network::Ports(ports);
    }
    Ok(confinement)
}

/// Of the store, as its settings name it, and of what gives credentials to whoever has none.
fn object_store_ports(options: &[String]) -> impl Iterator<Item = u16> {
    let settings = env::vars().filter(|(name, _)| name.starts_with("AWS_")).map(|(_, value)| value);
    let named = settings
        .chain(options.iter().cloned())
        .filter_map(|value| Url::parse(&value).ok()?.port_or_known_default());
    named.collect::<Vec<_>>().into_iter().chain([HTTP, HTTPS])
}
