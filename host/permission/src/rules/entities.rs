//! A question as the engine takes it: who, what and about what, each with what the policies may ask of it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use tidegate_model::{CapabilityKind, Permission, SecretRef};

use super::scope::{Place, Scope, Target};
use super::{Asked, granting};
use crate::address::{Address, LOOPBACK, classify};
use crate::endpoint::Endpoint;
use crate::location::Location;
use crate::principal::{Identity, Principal};
use crate::risk::Risk;
use crate::socket::Socket;
use crate::vocabulary::{Action, Resource};

macro_rules! types {
    ($($name:ident = $text:literal;)+) => {
        $(static $name: LazyLock<Option<EntityTypeName>> = LazyLock::new(|| $text.parse().ok());)+
    };
}

types! {
    ACTION = "Action"; ROLE = "Role"; USER = "User"; ACCOUNT = "Account"; MODULE = "Module"; PUBLISHER = "Publisher";
    PLUGIN = "Plugin"; ORDER = "Order"; LOCATION = "Location"; ENDPOINT = "Endpoint"; SOCKET = "Socket";
    ADDRESS = "Address"; CREDENTIAL = "Credential"; COLUMN = "Column"; DECODER = "Decoder"; PIPELINE = "Pipeline";
    STREAM = "Stream"; SINK = "Sink"; SECRET = "Secret"; GRANT = "Grant"; STORE = "Store"; AUDIT = "Audit";
}

type Attributes = HashMap<String, RestrictedExpression>;
type Parents = HashSet<EntityUid>;

fn uid(kind: &LazyLock<Option<EntityTypeName>>, id: &str) -> Result<EntityUid, String> {
    let kind = LazyLock::force(kind).clone().ok_or("a type of the schema has no name")?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn yes(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

/// The question, or why it cannot be asked: then the answer is no.
pub(super) fn question(
    scope: &Scope,
    who: &Principal,
    action: Action,
    resource: &Resource,
) -> Result<Asked, String> {
    let mut class = String::new();
    let (subject, mut entities) = principal(scope, who)?;
    let (object, thing) = thing(scope, resource, &mut class)?;
    // A component can be who asks and what is asked about; it is one entity then.
    if object != subject {
        entities.push(thing);
    }
    let verb = uid(&ACTION, action.as_str())?;
    let groups = action.groups().iter().map(|group| uid(&ACTION, group)).collect::<Result<_, _>>()?;
    entities.push(Entity::new_no_attrs(verb.clone(), groups));
    let entities =
        Entities::from_entities(entities, None).map_err(|error| format!("it cannot be asked: {error}"))?;
    Asked::new(subject, verb, object, entities, class)
}

fn entity(uid: EntityUid, attributes: Attributes, parents: Parents) -> Result<(EntityUid, Entity), String> {
    let entity = Entity::new(uid.clone(), attributes, parents)
        .map_err(|error| format!("it cannot be asked: {error}"))?;
    Ok((uid, entity))
}

fn principal(scope: &Scope, who: &Principal) -> Result<(EntityUid, Vec<Entity>), String> {
    let (uid, entity) = match who.identity() {
        Identity::User(name) => entity(uid(&USER, name)?, Attributes::new(), roles(scope)?)?,
        Identity::Account(name) => entity(uid(&ACCOUNT, name)?, Attributes::new(), roles(scope)?)?,
        Identity::Service(module) => {
            entity(uid(&MODULE, module.as_str())?, Attributes::new(), Parents::new())?
        }
        Identity::Plugin { name, digest, pipeline, publisher, .. } => {
            let attributes = [
                ("name".to_owned(), text(name)),
                ("pipeline".to_owned(), text(pipeline.as_str())),
                ("signed".to_owned(), yes(publisher.is_some())),
            ];
            let signers = publisher.iter().map(|key| uid(&PUBLISHER, key)).collect::<Result<_, _>>()?;
            entity(uid(&PLUGIN, digest)?, attributes.into(), signers)?
        }
    };
    Ok((uid, vec![entity]))
}

fn roles(scope: &Scope) -> Result<Parents, String> {
    scope.roles.iter().map(|role| uid(&ROLE, role)).collect()
}

fn this_order(is_in: bool) -> Result<Parents, String> {
    if is_in { Ok([uid(&ORDER, "this")?].into()) } else { Ok(Parents::new()) }
}

/// The granted targets that a test finds to cover what is asked, as parents of one type.
fn granted<'a>(
    scope: &'a Scope,
    kind: &LazyLock<Option<EntityTypeName>>,
    covers: impl Fn(&Target) -> bool + 'a,
) -> Result<Parents, String> {
    scope.targets.iter().filter(|target| covers(target)).map(|target| uid(kind, &target.name)).collect()
}

fn thing(scope: &Scope, resource: &Resource, class: &mut String) -> Result<(EntityUid, Entity), String> {
    let plain = |kind, id: &str| entity(uid(kind, id)?, Attributes::new(), Parents::new());
    match resource {
        Resource::Location(asked) => {
            let location = Location::parse(asked)?;
            let parents = granted(scope, &LOCATION, |target| target.covers_location(&location))?;
            own(uid(&LOCATION, asked)?, Attributes::new(), parents)
        }
        Resource::Endpoint { method, url } => {
            let endpoint = Endpoint::parse(url)?;
            let covers = |target: &Target| target.endpoint().is_some_and(|granted| granted.covers(&endpoint));
            let attributes = [("method".to_owned(), text(method))].into();
            let mut parents = granted(scope, &ENDPOINT, covers)?;
            parents.extend(this_order(scope.token_urls.contains(&endpoint))?);
            own(uid(&ENDPOINT, url)?, attributes, parents)
        }
        Resource::Address { endpoint, ip } => address(scope, endpoint, *ip, class),
        Resource::Socket { host, port } => {
            let covers = |target: &Target| target.socket().is_some_and(|granted| granted.is(host, *port));
            let parents = granted(scope, &SOCKET, covers)?;
            own(uid(&SOCKET, &format!("{host}:{port}"))?, Attributes::new(), parents)
        }
        Resource::Credential { binding, endpoint } => {
            let parents =
                scope.targets.iter().filter(|target| target.binds(binding, endpoint)).map(|target| {
                    let permission = Permission {
                        binding: Some(binding.clone()),
                        ..Permission::new(CapabilityKind::Credential, Some(target.name.clone()))
                    };
                    uid(&CREDENTIAL, &granting::credential_name(&permission))
                });
            let attributes = [
                ("slot".to_owned(), text(&binding.slot)),
                ("secret".to_owned(), text(&binding.secret.to_string())),
                ("place".to_owned(), text(&binding.place.to_string())),
                ("private".to_owned(), yes(Endpoint::parse(endpoint).map_or(true, |url| url.is_private()))),
            ];
            let name = format!("{} at {endpoint}", binding.slot);
            own(uid(&CREDENTIAL, &name)?, attributes.into(), parents.collect::<Result<_, _>>()?)
        }
        Resource::Plugin(digest) => {
            // As something to load, nothing but its digest counts.
            let attributes = [
                ("name".to_owned(), text("")),
                ("pipeline".to_owned(), text("")),
                ("signed".to_owned(), yes(false)),
            ];
            let ordered = scope.digest.as_ref() == Some(digest);
            entity(uid(&PLUGIN, digest)?, attributes.into(), this_order(ordered)?)
        }
        Resource::Stream { pipeline, stream } => {
            let ordered = scope.pipeline.as_ref() == Some(pipeline) && scope.streams.contains(stream);
            let attributes = [
                ("pipeline".to_owned(), text(pipeline.as_str())),
                ("refresh".to_owned(), yes(scope.full_refresh)),
            ];
            let name = format!("{pipeline}/{stream}");
            entity(uid(&STREAM, &name)?, attributes.into(), this_order(ordered)?)
        }
        Resource::Sink(location) => {
            let ordered = scope.sink.as_ref() == Some(location);
            entity(uid(&SINK, location)?, Attributes::new(), this_order(ordered)?)
        }
        Resource::Secret(secret) => {
            let attributes = [("kept".to_owned(), text(kept(secret)))].into();
            let ordered = scope.secrets.contains(secret);
            entity(uid(&SECRET, &secret.to_string())?, attributes, this_order(ordered)?)
        }
        Resource::Grant { pipeline, digest, permission, signed, days } => {
            *class = class_of(permission);
            let attributes = [
                ("pipeline".to_owned(), text(pipeline.as_str())),
                ("kind".to_owned(), text(permission.kind.as_str())),
                ("target".to_owned(), text(permission.target.as_deref().unwrap_or_default())),
                ("class".to_owned(), text(class)),
                ("local".to_owned(), yes(is_local(permission))),
                ("secret".to_owned(), text(permission.binding.as_ref().map_or("", |b| kept(&b.secret)))),
                ("risk".to_owned(), text(Risk::of(permission.kind, permission.target.as_deref()).as_str())),
                ("signed".to_owned(), yes(*signed)),
                ("days".to_owned(), RestrictedExpression::new_long(days.unwrap_or(-1))),
            ];
            entity(uid(&GRANT, &format!("{permission} to {digest}"))?, attributes.into(), Parents::new())
        }
        Resource::Column { stream, column } => {
            let attributes =
                [("stream".to_owned(), text(stream.as_str())), ("name".to_owned(), text(column))];
            let name = format!("{stream}.{column}");
            entity(uid(&COLUMN, &name)?, attributes.into(), Parents::new())
        }
        Resource::Pipeline(name) => plain(&PIPELINE, name.as_str()),
        Resource::Publisher(key) => plain(&PUBLISHER, key),
        Resource::User(name) => plain(&USER, name),
        Resource::Decoder => plain(&DECODER, "host"),
        Resource::Store => plain(&STORE, "platform"),
        Resource::Audit => plain(&AUDIT, "platform"),
    }
}

/// What is asked about may be named as what was granted: then it is that, and not below itself.
fn own(uid: EntityUid, attributes: Attributes, mut parents: Parents) -> Result<(EntityUid, Entity), String> {
    parents.remove(&uid);
    entity(uid, attributes, parents)
}

/// The second stage of a request: the endpoint was decided, now the address its name turned out to have.
fn address(
    scope: &Scope,
    endpoint: &str,
    ip: IpAddr,
    class: &mut String,
) -> Result<(EntityUid, Entity), String> {
    let mut tokens: Vec<&Endpoint> = Vec::new();
    let same: Vec<&Target> = if endpoint.contains("://") {
        let asked = Endpoint::parse(endpoint)?;
        tokens.extend(scope.token_urls.iter().filter(|url| url.has_origin_of(&asked)));
        let same = |target: &&Target| target.endpoint().is_some_and(|granted| granted.has_origin_of(&asked));
        scope.targets.iter().filter(same).collect()
    } else {
        let asked = Socket::parse(endpoint).ok_or("it is not `HOST:PORT`")?;
        scope.targets.iter().filter(|target| target.socket() == Some(&asked)).collect()
    };
    if same.is_empty() && tokens.is_empty() {
        return Err("no grant covers it".to_owned());
    }
    *class = class_of_address(ip);
    let parents = same.iter().map(|target| match target.place {
        Place::Tcp(_) => uid(&SOCKET, &target.name),
        _ => uid(&ENDPOINT, &target.name),
    });
    let names = same.iter().any(|target| target.names(ip, class))
        || tokens.iter().any(|url| url.literal() == Some(ip) || url.is_localhost() && class == LOOPBACK);
    let attributes = [
        ("class".to_owned(), text(class)),
        ("ip".to_owned(), RestrictedExpression::new_ip(plain(ip))),
        ("granted".to_owned(), yes(names)),
    ];
    let mut parents: Parents = parents.collect::<Result<_, _>>()?;
    parents.extend(this_order(!tokens.is_empty())?);
    let name = format!("{ip} of {endpoint}");
    entity(uid(&ADDRESS, &name)?, attributes.into(), parents)
}

/// An address as Cedar reads it, which knows no IPv6 with an IPv4 in it.
fn plain(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|segment| format!("{segment:x}")).join(":"),
    }
}

fn class_of_address(ip: IpAddr) -> String {
    match classify(ip) {
        Address::Public => "public".to_owned(),
        Address::Special(what) => what.to_owned(),
    }
}

/// What a permission reaches, as far as its target says.
fn class_of(permission: &Permission) -> String {
    let target = permission.target.as_deref().unwrap_or_default();
    let (literal, localhost) = match Endpoint::parse(target) {
        Ok(endpoint) => (endpoint.literal(), endpoint.is_localhost()),
        Err(_) => match (permission.kind, Socket::parse(target)) {
            (CapabilityKind::Tcp | CapabilityKind::Credential, Some(socket)) => {
                (socket.literal(), socket.is_localhost())
            }
            _ => return String::new(),
        },
    };
    match literal {
        Some(ip) => class_of_address(ip),
        None if localhost => LOOPBACK.to_owned(),
        None => "name".to_owned(),
    }
}

fn is_local(permission: &Permission) -> bool {
    let target = permission.target.as_deref().unwrap_or_default();
    permission.kind == CapabilityKind::Files && matches!(Location::parse(target), Ok(Location::Local { .. }))
}

fn kept(secret: &SecretRef) -> &'static str {
    match secret {
        SecretRef::Env(_) => "env",
        SecretRef::File(_) => "file",
        SecretRef::Store(_) => "store",
    }
}
