//! `aws-sigv4`: requests signed as Amazon's services and those that resemble them want it.

use http::Uri;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use sha2::{Digest, Sha256};
use tidegate_model::{Code, Fault, Result, percent_decoded};
use tidegate_permission::Secret;
use url::Url;

use super::dress::set;
use crate::http::Outgoing;
use crate::needles::percent_encoded;

/// What is not signed: the way may change it.
const UNSIGNED: &str = "accept-encoding";
const SET: [&str; 3] = ["authorization", "x-amz-date", "x-amz-content-sha256"];

/// Signs all that is in the request. `words` are region, service and access key.
pub(super) fn sign(request: &mut Outgoing, slot: &str, words: [&String; 3], secret: &Secret) -> Result<()> {
    let bad = |why: String| Fault::user(Code::BadConfig, format!("`{slot}` cannot sign: {why}"));
    let [region, service, key_id] = words;
    if let Some(word) = words.into_iter().find(|word| !word.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(bad(format!("`{}` has characters that no header can carry", word.escape_debug())));
    }
    let secret_key = String::from_utf8(secret.expose().to_vec())
        .map_err(|_| Fault::user(Code::NoSecret, format!("the secret for `{slot}` is not text")))?;
    as_amazon_writes_it(&mut request.url);
    let uri: Uri = request.url.as_str().parse().map_err(|error| bad(format!("the URL: {error}")))?;
    let mut signed = HttpRequest::new(Vec::new().into());
    *signed.method_mut() = request.method.clone();
    *signed.uri_mut() = uri;
    let headers = request.headers.iter().filter(|(name, _)| *name != UNSIGNED);
    for (name, value) in headers {
        // What is signed must be text.
        if value.to_str().is_ok() {
            signed.headers_mut().append(name, value.clone());
        }
    }
    let mut credential = AwsCredential { key_id: key_id.clone(), secret_key, token: None };
    let digest = Sha256::digest(&request.body);
    AwsAuthorizer::new(&credential, service, region).authorize(&mut signed, Some(&digest));
    // Overwritten rather than only freed.
    drop(Secret::new(std::mem::take(&mut credential.secret_key).into_bytes()));
    for name in SET {
        if let Some(value) = signed.headers().get(name) {
            set(request, slot, name, &Secret::new(value.as_bytes().to_vec()))?;
        }
    }
    Ok(())
}

/// The same path and query in the one spelling that is signed: every part percent-encoded in full, parameters in
/// order. Servers that sign what they read and servers that sign what they would have written agree on it.
fn as_amazon_writes_it(url: &mut Url) {
    let segments = url.path().split('/').map(|segment| percent_encoded(&percent_decoded(segment.as_bytes())));
    let path = segments.collect::<Vec<_>>().join("/");
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| (percent_encoded(name.as_bytes()), percent_encoded(value.as_bytes())))
        .collect();
    pairs.sort();
    let query =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    url.set_path(&path);
    url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_a_url() {
        for (url, expected) in [
            ("https://x.org", "https://x.org/"),
            ("https://x.org/a+b/c=d/%2Fe/é", "https://x.org/a%2Bb/c%3Dd/%2Fe/%C3%A9"),
            ("https://x.org/%252e%25", "https://x.org/%252e%25"),
            ("https://x.org/?b=2&a=x y&a=x%2Fy&c", "https://x.org/?a=x%20y&a=x%2Fy&b=2&c="),
            ("https://x.org/?", "https://x.org/"),
        ] {
            let mut url = Url::parse(url).unwrap();
            as_amazon_writes_it(&mut url);
            assert_eq!(url.as_str(), expected);
        }
    }
}
