//! Parses the API's URL from `AWS_ENDPOINT_URL_PINPOINT` or `AWS_ENDPOINT_URL`.

use url::Url;

use super::value::Explanation;

pub(super) fn endpoint_url(text: &str) -> Result<Url, Explanation> {
    const CURE: &str = "write one such as https://pinpoint.us-east-1.amazonaws.com";
    let url = Url::parse(text).map_err(|error| format!("this is not a valid URL ({error}); {CURE}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("its scheme is neither http nor https; {CURE}"));
    }
    // `url` also accepts `http:host` and `http:/host`. Other programs interpret these differently.
    if url.host_str().is_none_or(str::is_empty) || !text[url.scheme().len()..].starts_with("://") {
        return Err(format!("it has no host; {CURE}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "it has a user name or password, which the API does not use; write the URL without it".into()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or fragment; write the URL only up to its path".into());
    }
    Ok(url)
}
