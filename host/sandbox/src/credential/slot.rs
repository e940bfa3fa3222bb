//! One slot, with the secret and the access token it holds for a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_model::{Binding, Code, Fault, Placement, Result};
use tidegate_permission::Secret;
use tokio::sync::Mutex;

use super::Office;
use super::oauth2::{self, RefreshSecret, Token};
use crate::needles::Needles;

/// A secret is asked for again after this long, so that one that was changed or taken back is not used on.
const KEPT: Duration = Duration::from_secs(60);
/// What fits into a request's headers in every form.
const LARGEST: usize = 16 << 10;

pub(super) struct Slot {
    pub(super) binding: Binding,
    pub(super) target: String,
    kept: Mutex<Option<Kept>>,
    token: Mutex<Option<Token>>,
}

/// A secret for a while.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) secret: Secret,
    until: Instant,
}

impl Slot {
    pub(super) fn new(binding: Binding, target: String) -> Self {
        Self { binding, target, kept: Mutex::default(), token: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.binding.slot
    }

    /// The secret, asked for once a minute at most. When that is over it is overwritten, used or not.
    pub(super) async fn secret(self: &Arc<Self>, office: &Office) -> Result<Kept> {
        let mut held = self.kept.lock().await;
        if let Some(kept) = held.as_ref().filter(|kept| kept.until > Instant::now()) {
            return Ok(kept.clone());
        }
        let kept = self.keep(office.vault.secret(self.name()).await?, office)?;
        *held = Some(kept.clone());
        Ok(kept)
    }

    /// A secret that is looked for in answers from now on, and somebody who overwrites it when its time is over.
    fn keep(self: &Arc<Self>, secret: Secret, office: &Office) -> Result<Kept> {
        let size = secret.expose().len();
        if size == 0 || size > LARGEST {
            let name = self.name();
            let why =
                format!("the secret for `{name}` has {size} bytes; one that is sent has 1 to {LARGEST}");
            return Err(Fault::user(Code::NoSecret, why));
        }
        let needles = match &self.binding.place {
            Placement::Basic { user } => {
                let pair = basic_pair(user.as_bytes(), &secret);
                Needles::new([secret.expose(), pair.expose()])
            }
            Placement::OAuth2Refresh { .. } => {
                let parts = RefreshSecret::parse(&secret);
                Needles::new([secret.expose(), parts.refresh_token.expose(), parts.client_secret()])
            }
            _ => Needles::new([secret.expose()]),
        };
        office.know(&Arc::new(needles));
        let slot = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            if let Some(slot) = slot.upgrade() {
                let mut held = slot.kept.lock().await;
                *held = held.take().filter(|kept| kept.until > Instant::now());
            }
        });
        Ok(Kept { secret, until: Instant::now() + KEPT })
    }

    /// An access token that is none of `spent`.
    pub(super) async fn token(self: &Arc<Self>, office: &Arc<Office>, spent: &[u64]) -> Result<Token> {
        if let Some(token) = self.token.lock().await.as_ref().filter(|token| token.is_fresh(spent)) {
            return Ok(token.clone());
        }
        let (slot, office, spent) = (self.clone(), office.clone(), spent.to_vec());
        // On its own: whoever gives up a request must not interrupt this between the server, which then knows a new
        // refresh token, and the vault, which does not yet.
        let refreshing = tokio::spawn(async move { slot.refresh(&office, &spent).await });
        refreshing
            .await
            .map_err(|error| Fault::internal(Code::Bug, format!("getting a token broke down: {error}")))?
    }

    /// One at a time: who comes second finds the token of the first.
    async fn refresh(self: Arc<Self>, office: &Office, spent: &[u64]) -> Result<Token> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(spent)) {
            return Ok(token.clone());
        }
        *held = None;
        let kept = self.secret(office).await?;
        let granted = oauth2::trade(&office.network, &self.binding, &kept.secret).await?;
        if let Some(rotated) = granted.rotated {
            // Kept for good first. A token that is used and then lost could never be renewed.
            office.vault.rotate(self.name(), rotated.clone()).await?;
            *self.kept.lock().await = Some(self.keep(rotated, office)?);
        }
        office.know(&granted.token.needles);
        Ok(held.insert(granted.token).clone())
    }
}

/// `USER:PASSWORD` in base64, as basic authentication (RFC 7617) has it.
pub(super) fn basic_pair(user: &[u8], password: &Secret) -> Secret {
    use base64::Engine;
    let pair = Secret::new([user, b":", password.expose()].concat());
    Secret::new(base64::engine::general_purpose::STANDARD.encode(pair.expose()).into_bytes())
}
