//! Decides whether a request is admitted, by the rate limit and the passwords of the web configuration. Adds the headers of the
//! web configuration to each response.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_types::base64;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    body::Body,
    client_address::ClientAddress,
    config::{RateLimit, WatchedWebConfig, WebConfig},
    media_type::TEXT,
    passwords::{Passwords, Verdict},
    response::response,
};
use crate::model::token_bucket::TokenBucket;

/// How long the server delays a refusal when too many passwords wait to be verified.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Checks each request before it reaches the routes.
#[derive(Debug)]
pub(super) struct AccessControl {
    web_config: Arc<WatchedWebConfig>,
    passwords: Passwords,
    /// The bucket of the rate limit, and the limit that it was made for.
    bucket: Mutex<Option<(RateLimit, TokenBucket)>>,
}

impl AccessControl {
    /// Returns an error if the threads that verify passwords cannot start.
    pub(super) fn new(web_config: Arc<WatchedWebConfig>) -> io::Result<Self> {
        Ok(Self { web_config, passwords: Passwords::new()?, bucket: Mutex::default() })
    }

    /// The web configuration in force.
    pub(super) fn web_config(&self) -> Arc<WebConfig> {
        self.web_config.current()
    }

    /// Admits a request from `client`, or returns the response that refuses it.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
        client: ClientAddress,
    ) -> Result<(), Response<Body>> {
        let web_config = self.web_config();
        if let Some(limit) = web_config.rate_limit
            && !self.take_token(limit)
        {
            return Err(too_many("Too many requests: the rate limit of the web configuration is reached.\n"));
        }
        if web_config.users.is_empty() {
            return Ok(());
        }
        let Some((user, password)) = credentials(headers) else {
            return Err(unauthorized());
        };
        match self.passwords.verify(&web_config.users, &user, password, client).await {
            Verdict::Right => Ok(()),
            Verdict::Wrong => Err(unauthorized()),
            Verdict::Busy => {
                // Without the delay, a client that retries at once would take every slot that becomes free.
                sleep(BUSY_DELAY).await;
                Err(too_many("Too many passwords wait to be verified.\n"))
            }
        }
    }

    /// Adds the headers of the web configuration to a response. They replace the exporter's own.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.web_config().headers {
            headers.insert(name, value.clone());
        }
    }

    fn take_token(&self, limit: RateLimit) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *bucket {
            Some((of, bucket)) if *of == limit => bucket.take(),
            other => other.insert((limit, TokenBucket::new(limit.interval, limit.burst))).1.take(),
        }
    }
}

/// Reads the user name and password of [basic auth]. Bytes of the name that are not UTF-8 are replaced, so such a name matches
/// no user.
///
/// [basic auth]: https://www.rfc-editor.org/rfc/rfc7617
fn credentials(headers: &HeaderMap) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = Zeroizing::new(base64::decode(rest.trim()).ok()?);
    let colon = text.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8_lossy(text.get(..colon)?).into_owned();
    Some((user, text.get(colon + 1..)?.to_vec().into()))
}

fn unauthorized() -> Response<Body> {
    let mut refusal = response(StatusCode::UNAUTHORIZED, TEXT, "A user name and a password are required.\n");
    let challenge = HeaderValue::from_static("Basic realm=\"pinpoint-exporter\", charset=\"UTF-8\"");
    refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    refusal
}

fn too_many(text: &'static str) -> Response<Body> {
    let mut refusal = response(StatusCode::TOO_MANY_REQUESTS, TEXT, text);
    refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_basic_auth_sends_them() {
        for (header, expected) in [
            ("Basic YWxpY2U6c2VjcmV0", Some(("alice", "secret"))),
            ("basic  YWxpY2U6c2VjcmV0", Some(("alice", "secret"))),
            ("Basic YTpiOmM=", Some(("a", "b:c"))),
            ("Basic Og==", Some(("", ""))),
            ("Basic YWxpY2U=", None),
            ("Basic %%%", None),
            ("Bearer YWxpY2U6c2VjcmV0", None),
            ("Basic", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, header.parse().unwrap());
            let found = credentials(&headers);
            let found = found
                .as_ref()
                .map(|(user, password)| (user.as_str(), std::str::from_utf8(password).unwrap()));
            assert_eq!(found, expected, "{header}");
        }
    }
}
