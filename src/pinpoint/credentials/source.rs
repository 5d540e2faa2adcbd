//! The sources of credentials: AWS's standard chain, and roles assumed through STS. Each fetch asks the source again. The cache
//! is [`super::cache`].

use std::sync::Arc;

use super::{
    cache::{CredentialsCache, Source, are_same},
    chain::ProviderChain,
    provider_error::{describe, refusal_code},
    sts::{Role, Sts},
};

/// The error codes of STS if it rejects the credentials of the caller.
const CALLER_ERRORS: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch"];

/// AWS's standard chain: environment, profile, web identity, container, instance metadata. A profile can also use SSO or
/// `credential_process`.
pub fn default_chain(chain: ProviderChain) -> Arc<Source> {
    let chain = Arc::new(chain);
    Source::new(move |fetch| {
        let chain = Arc::clone(&chain);
        Box::pin(async move { chain.find(&fetch.trace).await })
    })
}

/// The credentials of `base`, for an account without a role.
pub fn shared(base: Arc<CredentialsCache>) -> Arc<Source> {
    Source::nested(move |fetch| {
        let base = Arc::clone(&base);
        Box::pin(async move {
            let issued = base.get().await.map_err(|failure| failure.message)?;
            if fetch.refused.is_some_and(|refused| are_same(&refused, &issued.credentials))
                && base.replaced(&issued).await
            {
                return base.get().await.map(|issued| issued.credentials).map_err(|failure| failure.message);
            }
            Ok(issued.credentials)
        })
    })
}

/// A role in another account, assumed through STS with the credentials of `base`.
pub fn assumed_role(
    sts: Sts,
    role_arn: String,
    external_id: Option<String>,
    base: Arc<CredentialsCache>,
) -> Arc<Source> {
    let role = Role { arn: role_arn, external_id, ..Role::default() };
    let role = Arc::new((sts, role));
    Source::nested(move |fetch| {
        let (role, base) = (Arc::clone(&role), Arc::clone(&base));
        Box::pin(async move {
            let (sts, role) = &*role;
            let mut issued = base.get().await.map_err(|failure| failure.message)?;
            let mut assumed = sts.assume_role(role, issued.credentials.clone(), &fetch.trace).await;
            let code = assumed.as_ref().err().and_then(refusal_code);
            if code.is_some_and(|code| CALLER_ERRORS.contains(&code)) && base.replaced(&issued).await {
                issued = base.get().await.map_err(|failure| failure.message)?;
                assumed = sts.assume_role(role, issued.credentials.clone(), &fetch.trace).await;
            }
            assumed.map_err(|error| describe(&error, &fetch.trace))
        })
    })
}
