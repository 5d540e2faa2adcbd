//! `AWS_ENDPOINT_URL_PINPOINT` and `AWS_ENDPOINT_URL` → the address of the API. A URL may hold a password: none is shown.

use url::Url;

use super::value::Explanation;

pub(super) fn endpoint_url(text: &str) -> Result<Url, Explanation> {
    const CURE: &str = "write one such as https://pinpoint.us-east-1.amazonaws.com";
    let url = Url::parse(text).map_err(|error| format!("this is no URL ({error}); {CURE}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("its scheme is neither http nor https; {CURE}"));
    }
    // `url` also accepts `http:host` and `http:/host`, which other programs read otherwise.
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

/// A URL, or what was meant to be one, without what may be secret: user information, query and fragment.
pub(super) fn masked(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    // User information may, wrongly, hold any of these characters, so what is before the last @ goes first.
    let (start, end) = match text.rfind('@') {
        Some(at) => (at, text[at..].find(['?', '#']).map_or(text.len(), |end| at + end)),
        None => (0, end),
    };
    let mut masked = String::new();
    if start > 0 || text.starts_with('@') {
        masked.push_str(text[..start].split_once("://").map_or("", |(scheme, _)| scheme));
        if !masked.is_empty() {
            masked.push_str("://");
        }
        masked.push_str("***");
    }
    masked.push_str(&text[start..end]);
    if end < text.len() {
        masked.push_str(&text[end..=end]);
        masked.push_str("***");
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_a_url_is_masked() {
        for (text, shown) in [
            ("https://user:hush@host/path?hush#hush", "https://***@host/path?***"),
            ("https://host/path#hush", "https://host/path#***"),
            ("https://us?er:hush@host", "https://***@host"),
            ("user:hush@host", "***@host"),
            ("@host", "***@host"),
            ("https:user:hush@host:80", "***@host:80"),
            ("https://hush@hush@host", "https://***@host"),
            ("ftp://host/", "ftp://host/"),
            ("", ""),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }
}
