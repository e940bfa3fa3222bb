//! Secrets that the host uses in a component's name, at the endpoints they are bound to and nowhere else.
//!
//! A component never holds one: its request is dressed after it left the component, and undressed answers are all
//! that come back.

mod aws;
mod dress;
mod hmac;
mod oauth2;
mod slot;

use std::sync::{Arc, Mutex};

use tidegate_model::{Binding, CapabilityKind, Code, Fault, Permission, Placement, Result};
use tidegate_permission::{Action, Authorizer, Module, Principal, Resource as Asset, Vault, is_below};
use tokio::sync::OnceCell;
use url::Url;

use crate::bindings::credentials;
use crate::guest::{Guest, Setup};
use crate::http::{Outgoing, bare};
use crate::needles::Needles;
use crate::network::Network;
use crate::redaction::Redaction;
use crate::refusal::{Asked, Refusal};

use self::slot::Slot;

/// Secrets and tokens that are looked for; of more, the newest.
const KNOWN: usize = 64;

/// The slots of one run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<Office>);

/// Where slots get what they need.
struct Office {
    authorizer: Arc<Authorizer>,
    /// In whose name requests are sent.
    principal: Principal,
    vault: Arc<dyn Vault>,
    /// The way to token servers, in the host's own name: a component cannot use it.
    network: Network,
    slots: Vec<Arc<Slot>>,
    /// All slots by name, also those that `http` has no use for.
    bound: Vec<String>,
    /// What this run had to do with, the newest last: a server may say later, and elsewhere, what it was sent once.
    known: Mutex<Vec<Arc<Needles>>>,
    acquainted: OnceCell<()>,
}

impl Credentials {
    pub(crate) fn new(setup: &Setup) -> Self {
        let granted = setup.credentials.iter().filter(|granted| granted.kind == CapabilityKind::Credential);
        let slots = granted.clone().filter_map(of_http).map(Arc::new).collect();
        let mut bound: Vec<String> =
            granted.filter_map(|granted| Some(granted.binding.as_ref()?.slot.clone())).collect();
        bound.sort();
        bound.dedup();
        let office = Principal::service(Module::Extraction);
        Self(Arc::new(Office {
            authorizer: setup.authorizer.clone(),
            principal: setup.principal.clone(),
            vault: setup.vault.clone(),
            network: Network::new(setup.authorizer.clone(), office),
            slots,
            bound,
            known: Mutex::default(),
            acquainted: OnceCell::new(),
        }))
    }

    fn at(&self, url: &Url) -> Vec<Arc<Slot>> {
        if self.0.slots.is_empty() {
            return Vec::new();
        }
        self.0.slots.iter().filter(|slot| is_below(&slot.target, url.as_str())).cloned().collect()
    }

    pub(crate) fn are_for(&self, url: &Url) -> bool {
        !self.at(url).is_empty()
    }

    /// May all credentials that belong to this request be used for it?
    pub(crate) fn decide(&self, request: &Outgoing) -> Result<()> {
        let Office { authorizer, principal, .. } = &*self.0;
        for slot in self.at(&request.url) {
            let endpoint = request.url.to_string();
            let asset = Asset::Credential { binding: slot.binding.clone(), endpoint };
            authorizer.decide(principal, Action::CredentialUse, &asset)?;
        }
        Ok(())
    }

    /// Refuses what two would set: the component, or a second credential.
    pub(crate) fn check(&self, request: &Outgoing) -> Asked<()> {
        let slots = self.at(&request.url);
        let mut set = Vec::new();
        for slot in &slots {
            let Binding { slot: name, place, .. } = &slot.binding;
            for sign in dress::signs(place) {
                if sign.is_in(request) {
                    let why = format!("{sign} is the host's to set: the credential `{name}` goes there");
                    return Err(Refusal::invalid(why));
                }
                if let Some((other, _)) = set.iter().find(|(_, taken)| *taken == sign) {
                    let url = bare(&request.url);
                    let why = format!("the credentials `{other}` and `{name}` are both {sign} of {url}");
                    let fault = Fault::user(Code::BadPipeline, why);
                    return Err(Refusal::from(fault.help("bind a secret to one of them only")));
                }
                set.push((name, sign));
            }
        }
        Ok(())
    }

    /// Gets to know every secret that requests can carry, before the first answer comes: a server may have one from a
    /// run before. What cannot be had was not sent either.
    pub(crate) async fn get_acquainted(&self) {
        let all = async {
            for slot in &self.0.slots {
                // What it answers is remembered there; that there is none is for the request to say that needs it.
                let _ = slot.secret(&self.0).await;
            }
        };
        self.0.acquainted.get_or_init(|| all).await;
    }

    /// What must not be seen of any answer, whoever gives it.
    pub(crate) fn redaction(&self) -> Redaction {
        let mut redaction = Redaction::default();
        let known = self.0.known.lock().unwrap_or_else(|broken| broken.into_inner());
        known.iter().for_each(|needles| redaction.add(needles.clone()));
        redaction
    }

    /// The text, without any secret that this run had to do with.
    pub(crate) fn hide(&self, text: &str) -> Option<String> {
        if self.0.slots.is_empty() {
            return None;
        }
        let hidden = self.redaction().text(text);
        (hidden != text).then_some(hidden)
    }

    pub(crate) fn hide_in(&self, mut fault: Fault) -> Fault {
        if let Some(hidden) = self.hide(&fault.message) {
            fault.message = hidden;
        }
        if let Some(hidden) = fault.help.as_deref().and_then(|help| self.hide(help)) {
            fault.help = Some(hidden);
        }
        fault
    }
}

impl Office {
    fn know(&self, needles: &Arc<Needles>) {
        let mut known = self.known.lock().unwrap_or_else(|broken| broken.into_inner());
        // The same again, as after every minute, is found already.
        known.retain(|other| other != needles);
        if known.len() >= KNOWN {
            known.remove(0);
        }
        known.push(needles.clone());
    }
}

/// A slot that requests of `http` can carry.
fn of_http(permission: &Permission) -> Option<Slot> {
    let (binding, target) = (permission.binding.as_ref()?, permission.target.as_ref()?);
    let of_web = !matches!(binding.place, Placement::Postgres { .. }) && target.contains("://");
    of_web.then(|| Slot::new(binding.clone(), target.clone()))
}

impl credentials::Host for Guest {
    async fn bound(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.around.sender.credentials().0.bound.clone())
    }
}
